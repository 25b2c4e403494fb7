"""Sphinx: needs no network, and takes a reference that leads nowhere for an error (``-n -W``)."""

import re
import sys
import tomllib
from pathlib import Path

from sphinx.domains import ObjType
from sphinx.domains.python import PythonDomain
from zope.interface.interface import InterfaceClass

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # document this checkout, installed or not
sys.path.insert(0, str(ROOT / "docs/_ext"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = PROJECT["name"]
author = PROJECT["authors"][0]["name"]
copyright = author
version = release = PROJECT["version"]

extensions = [
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "keys",  # docs/_ext: the keys of the file, from the table in socks5/app/config/keys.py
    "house",  # docs/_ext: the folders, drawn from their imports
    "stages",  # docs/_ext: the state diagrams, from the tables in socks5/protocol/stages.py
    "sphinxcontrib.zopeext.autointerface",  # zope interfaces, which autodoc alone takes for data
]
exclude_patterns = ["_build", "api/modules.rst"]
default_role = "any"

# One page a module, made anew from the modules that there are.
apidoc_modules = [
    {
        "path": "../socks5",
        "destination": "api",
        "separate_modules": True,
        "module_first": True,
    }
]
autodoc_default_options = {"ignore-module-all": True}  # a name stands where it is defined, once
autodoc_use_legacy_class_based = True  # autointerface stands on it
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

nitpicky = True
# A reference into somebody else's documentation cannot be followed without a network.
_ELSEWHERE = {
    *sys.stdlib_module_names,
    *("twisted", "zope", "incremental", "OpenSSL", "cryptography", "scrapy"),
}
nitpick_ignore_regex = [
    (r"py:.*", rf"({'|'.join(map(re.escape, sorted(_ELSEWHERE)))})(\..*)?"),
    (r"py:class", r"Interface|Deferred"),  # zope's and Twisted's, in annotations of attributes
    (r"py:(class|obj)", r"socks5(\.\w+)+\._\w+"),  # what is private has no page to refer to
]

smartquotes_action = "qe"  # options begin with two hyphens

html_theme = "alabaster"
html_theme_options = {
    "description": PROJECT["description"],
    "page_width": "1200px",
    "link": "#0a5ca8",
    "sidebar_link": "#0a5ca8",
}
html_static_path = ["_static"]


def _hide_private_bases(app, name, obj, options, bases):
    """A private base class has no page to refer to."""
    bases[:] = [base for base in bases if not getattr(base, "__name__", "").startswith("_")]
    bases[:] = bases or [object]


def _list_public_names(app, what, name, obj, options, lines):
    """Close the page of the package with references to what it offers."""
    if name == "socks5":
        values = [(each, getattr(obj, each)) for each in obj.__all__]
        lines += ["", *(f"- :obj:`~{value.__module__}.{each}`" for each, value in values)]


def setup(app):
    """Let ``:class:`` and annotations refer to interfaces, by their names and not by their reprs."""
    InterfaceClass.__repr__ = lambda self: self.__identifier__
    PythonDomain.object_types["interface"] = ObjType("interface", "interface", "class", "obj")
    app.connect("autodoc-process-bases", _hide_private_bases)
    app.connect("autodoc-process-docstring", _list_public_names)
