"""Everything static is in setup.cfg. This copies the manifest, which lives at the top of the checkout, into the built package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithManifest(build_py):
    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copy("weights_manifest.json", Path(self.build_lib) / "idgan" / "weights_manifest.json")


setup(cmdclass={"build_py": BuildWithManifest})
