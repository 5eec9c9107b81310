"""PatchLine on a robot car: vision models that adapt to drift with small residual patches."""

from pkgutil import extend_path

# The generated messages (patchline_ros.msg) are installed by rosidl into a folder of this same
# name; extending the path lets a source checkout and an installed workspace be one package.
__path__ = extend_path(__path__, __name__)

__version__ = "0.2.0"
