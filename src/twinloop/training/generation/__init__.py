"""Generators of links and scenes by class, and the recorded windows they are fitted to."""

from twinloop.training.generation.files import load_source, save_source
from twinloop.training.generation.fits import DEFAULT_GENERATOR, GAN_STEPS, GENERATORS, fit_gan
from twinloop.training.generation.scene_sources import SCENE_GENERATORS, AbstractSceneSource
from twinloop.training.generation.scenes import SCENE_WIDTH_M, Scenes, SceneView, load_scenes, scene_view, scene_world
from twinloop.training.generation.sources import AbstractSource
from twinloop.training.generation.windows import RECORDED_LINKS, Windows, held_out_files, load_windows

__all__ = [
    "DEFAULT_GENERATOR",
    "GAN_STEPS",
    "GENERATORS",
    "RECORDED_LINKS",
    "SCENE_GENERATORS",
    "SCENE_WIDTH_M",
    "AbstractSceneSource",
    "AbstractSource",
    "SceneView",
    "Scenes",
    "Windows",
    "fit_gan",
    "held_out_files",
    "load_scenes",
    "load_source",
    "load_windows",
    "save_source",
    "scene_view",
    "scene_world",
]
