"""Handing a body to the smplx package."""

import pytest
import torch

from temporal_hmr.body.interop import as_smplx
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams


def test_the_same_body_in_smplx(capsys: pytest.CaptureFixture[str]) -> None:
    body = load_body()
    torch.manual_seed(0)
    smpl = SmplParams.from_poses(0.3 * torch.randn(2, 72), torch.randn(2, 10), torch.randn(2, 3))
    theirs = as_smplx(body, batch_size=2)(
        betas=smpl.betas,
        body_pose=smpl.body_pose,
        global_orient=smpl.global_orient[:, None],
        transl=smpl.transl,
        pose2rot=False,
    )
    assert capsys.readouterr().out == ""
    assert float((theirs.vertices - body.vertices(smpl)).abs().max()) < 1e-5
    assert float((theirs.joints[:, :24] - body.joints(smpl)).abs().max()) < 1e-5
    left_thumb = body.vertices(smpl)[:, body.landmarks["left_thumb"]]
    assert float((theirs.joints - left_thumb[:, None]).norm(dim=-1).amin(-1).max()) < 1e-5
