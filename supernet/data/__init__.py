"""Images for search and retraining: data sets, their splits, loaders that resume.

The data sets are named here as well, since configs of runs name them ``supernet.data.Digits``.
"""

from supernet.data.digits import ClutteredDigits, Digits
from supernet.data.image_folder import ImageFolder

__all__ = ["ClutteredDigits", "Digits", "ImageFolder"]
