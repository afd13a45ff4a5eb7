"""TokenHMR's run as settings: the model and what its training asks of it."""

from temporal_hmr.configuration import Config
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr_config import TOKENHMR, HmrConfig


class TokenHmrRun(Config):
    """The network and its losses."""

    model: HmrConfig = TOKENHMR
    losses: TalsConfig = TalsConfig()
