"""Models of what people make of streaming sessions, fitted to their scores."""

from twinloop.training.experience.explaining import Effect, Explained, Matter, explain
from twinloop.training.experience.own_scores import OwnScores, Scale, read_own_scores
from twinloop.training.experience.personal import TRAITS, TraitsPrior, fit_person, learn_traits, trait_scale, traits
from twinloop.training.experience.population import (
    CANDIDATES,
    CONTENT_BLIND,
    PopulationModel,
    PopulationSettings,
    choose_population,
    correlation,
    fit_population,
    structured_models,
)
from twinloop.training.experience.saved import Made, fit_and_save, load_opinion_model
from twinloop.training.experience.sessions import CODECS, DEVICES, Sessions, sessions_of, tree_features
from twinloop.training.experience.structured import FORMS, Form, StructuredModel

__all__ = [
    "CANDIDATES",
    "CODECS",
    "CONTENT_BLIND",
    "DEVICES",
    "FORMS",
    "TRAITS",
    "Effect",
    "Explained",
    "Form",
    "Made",
    "Matter",
    "OwnScores",
    "PopulationModel",
    "PopulationSettings",
    "Scale",
    "Sessions",
    "StructuredModel",
    "TraitsPrior",
    "choose_population",
    "correlation",
    "explain",
    "fit_and_save",
    "fit_person",
    "fit_population",
    "learn_traits",
    "load_opinion_model",
    "read_own_scores",
    "sessions_of",
    "structured_models",
    "trait_scale",
    "traits",
    "tree_features",
]
