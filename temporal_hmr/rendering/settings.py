"""How rendered clips vary."""

from pydantic import Field

from temporal_hmr.configuration import Config


class RenderingConfig(Config):
    """Shares are of clips; everything that varies is drawn once per clip."""

    side: int = Field(default=256, ge=16)
    """Pixels of the square crop's side."""
    photo_share: float = Field(default=0.4, ge=0, le=1)
    """Clips before a picture that turns with the camera (a user's or made up) and not in a place
    with floor and walls or sky."""
    outdoor_share: float = Field(default=0.5, ge=0, le=1)
    """Among the places, those under the sky."""
    sharp_share: float = Field(default=0.35, ge=0, le=1)
    """Among the places, those as sharp as the people; the others are a little out of focus."""
    dressed_share: float = Field(default=0.97, ge=0, le=1)
    """People in clothes; the others are bare skin."""
    looseness: float = Field(default=1.0, ge=0)
    """How far clothes and hair stand off the skin, in multiples of what is usual (0 is paint)."""
    occluder_share: float = Field(default=0.4, ge=0, le=1)
    """Clips with things standing or passing in front."""
    most_occluders: int = Field(default=3, ge=1)
    company_share: float = Field(default=0.3, ge=0, le=1)
    """Clips with a second person, in front or behind."""
    motion_blur_share: float = Field(default=0.2, ge=0, le=1)
    low_quality_share: float = Field(default=0.35, ge=0, le=1)
    """Clips that went through coarse JPEG compression."""
    noise: float = Field(default=8.0, ge=0)
    """Largest standard deviation of the sensor's noise, in grey levels of 255."""
    colour_jitter: float = Field(default=1.0, ge=0)
    """Strength of changes in brightness, contrast and white balance; 0 for none."""
    camera_resolution: bool = True
    """A person who is small in the image is as blurred in the crop as enlarging makes them."""
    full_detail: bool = False
    """Draw every vertex of the body rather than a quarter of them; takes three times as long."""


PLAIN = RenderingConfig(
    photo_share=1.0,
    looseness=0.0,
    occluder_share=0.0,
    company_share=0.0,
    motion_blur_share=0.0,
    low_quality_share=0.0,
    noise=0.0,
    colour_jitter=0.0,
    camera_resolution=False,
)
"""A perfect camera, skin-tight clothes, nothing in the way: the picture is exactly the truth."""
