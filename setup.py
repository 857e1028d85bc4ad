"""Copies the manifest, which is at the top of the checkout, into the built package. All metadata is in setup.cfg."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithManifest(build_py):
    """Build the package and put the manifest in it."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copy("weights_manifest.json", Path(self.build_lib) / "idgan" / "weights_manifest.json")


setup(cmdclass={"build_py": BuildWithManifest})
