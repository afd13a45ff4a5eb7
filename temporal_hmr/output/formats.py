"""The formats that results can be exported in, and what they are for."""

FORMATS = {
    "glb": "everybody, skinned and animated, and the camera: Blender, Unity, Unreal, browsers",
    "bvh": "skeletons: animation programs, retargeting",
    "amass": "npz in the layout of AMASS",
    "obj": "a mesh for every frame",
    "wham": "wham_output.pkl as WHAM writes it",
    "vibe": "vibe_output.pkl as VIBE writes it",
    "gvhmr": "hmr4d_results.pt as GVHMR writes it",
}
UNITS = {"cm": 100.0, "m": 1.0}
"""Of length, for BVH: so many of them are in a metre."""
