"""Whether an existing InferenceService may serve a model: its transformer's pictures and its species must fit."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from components.deploy.kserve.inference_service import requested_model, transformer_options
from components.shared.contracts import ModelCard
from components.shared.errors import DeployError

_OPTIONS_WITH_VALUE = ("--channels", "--image_size")
_OPTIONS = ("--no-segmented",)
_NAMED_SPECIES = 3


def check_pictures(service: Mapping[str, Any] | None, card: ModelCard) -> None:
    """Check that the transformer of an existing service prepares pictures as a model expects them.

    Raises:
        DeployError: It prepares other pictures; users of the service would send others than the model was trained on.
    """
    containers = ((service or {}).get("spec", {}).get("transformer") or {}).get("containers")
    if service is None or not containers or requested_model(dict(service)) is None:
        return
    arguments: list[str] = containers[0].get("args") or []
    current, desired = _picture_options(arguments), _picture_options(transformer_options(card))
    if current != desired:
        raise DeployError(
            f"{service['metadata']['name']} takes {_describe(current)}, and the new model {_describe(desired)}",
            "a service for the same pictures",
            _remedy(service, card),
        )


def check_species(service: Mapping[str, Any] | None, species: Mapping[int, Sequence[str]], card: ModelCard) -> None:
    """Check that a model knows at least one species of the model that an existing service serves.

    Args:
        service: InferenceService, or None if it does not exist.
        species: Species of the registered versions by number, () if they are not known.
        card: Card of the new model.

    Raises:
        DeployError: The species are disjoint: the models have different purposes.
    """
    stable = None if service is None else requested_model(dict(service))
    names = species.get(stable.version, ()) if stable else ()
    if service is None or not names or set(names) & set(card.classes):
        return
    raise DeployError(
        f"{service['metadata']['name']} serves the species {_names(names)}, and the new model knows none of them but "
        f"{_names(card.classes)}",
        "a service with at least one species in common",
        _remedy(service, card),
    )


def _remedy(service: Mapping[str, Any], card: ModelCard) -> str:
    metadata = service["metadata"]
    namespace = metadata.get("namespace", "NAMESPACE")
    example = f"{card.name}-2" if card.name == metadata["name"] else card.name
    return f"Set TARGET to another name, for example kserve://{namespace}/{example}, or delete the service first."


def _picture_options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the options of a transformer that depend on the pictures of a model."""
    options = {name: "" for name in arguments if name in _OPTIONS}
    return options | {name: value for name, value in pairwise(arguments) if name in _OPTIONS_WITH_VALUE}


def _describe(options: Mapping[str, str]) -> str:
    """Return the pictures of a transformer's options in words."""
    colour = "grey" if options.get("--channels", "1") == "1" else "colour"
    size = f" of {options['--image_size']} pixels" if "--image_size" in options else ""
    return f"{colour} pictures{size} {'without' if '--no-segmented' in options else 'with'} segmentation"


def _names(species: Sequence[str]) -> str:
    more = len(species) - _NAMED_SPECIES
    return ", ".join(species[:_NAMED_SPECIES]) + (f" and {more} more" if more > 0 else "")
