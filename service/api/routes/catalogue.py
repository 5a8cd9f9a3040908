"""What an experiment can be made of: presets and datasets."""

from fastapi import APIRouter

from service import schemas
from service.data.catalogue import CATALOGUE
from service.specs.experiment import ExperimentSpec
from service.specs.presets import PRESETS

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/presets")
def presets() -> schemas.Presets:
    """Named experiments, with every field written out."""
    items = []
    for preset in PRESETS.values():
        spec = ExperimentSpec.model_validate({"preset": preset.name})
        items.append(
            schemas.Preset(
                name=preset.name,
                summary=preset.summary,
                spec=spec,
                parameters=spec.model.parameters,
                published=preset.published,
            )
        )
    return schemas.Presets(items=items)


@router.get("/datasets")
def datasets() -> schemas.Datasets:
    """Datasets that experiments can name."""
    return schemas.Datasets(items=list(CATALOGUE.values()))
