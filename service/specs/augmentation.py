"""Random changes to training images."""

from pydantic import Field

from service.specs.base import Spec


class Elastic(Spec):
    """Elastic distortions: Simard, Steinkraus, Platt (2003), "Best Practices for Convolutional Neural Networks".

    How far each pixel moves, down and across, is drawn evenly from -1 to 1, smoothed by a Gaussian of `sigma` pixels
    and multiplied with `alpha`. The defaults are the paper's; they come to 1.3 pixels each way, root mean square.
    """

    alpha: float = Field(default=34.0, gt=0, le=1000)
    sigma: float = Field(default=4.0, ge=0.5, le=28, description="in pixels")


class Augmentation(Spec):
    """Random changes to training images, other ones each time. Never part of the exported model."""

    shift: float = Field(default=0.0, ge=0, le=0.5, description="furthest move, as a fraction of height and width")
    rotation: float = Field(default=0.0, ge=0, le=180, description="largest turn either way, in degrees")
    zoom: float = Field(default=0.0, ge=0, lt=1, description="largest change of size either way, as a fraction")
    elastic: Elastic | None = Field(default=None, description="bend the strokes, too")
