"""A web page to play with a model: sliders, one's own photo, animations. It needs gradio, the extra `demo`.

The same page runs on the user's computer (`idgan demo`) and as a Space of the Hugging Face Hub (`write_space`).
"""

from idgan.demo.hosting import SOURCE_ADVICE, serve, write_space
from idgan.demo.page import about, demo_page, slider_ranges

__all__ = ["SOURCE_ADVICE", "about", "demo_page", "serve", "slider_ranges", "write_space"]
