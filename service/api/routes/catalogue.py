"""What an experiment can be made of: presets and datasets."""

from fastapi import APIRouter

from service import schemas
from service.data.catalogue import CATALOGUE
from service.specs.experiment import ExperimentSpec
from service.specs.presets import PRESETS
from service.specs.sweep import SweepSpec
from service.specs.sweep_presets import SWEEP_PRESETS

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/presets")
def presets() -> schemas.Presets:
    """Named experiments and sweeps, with every field written out."""
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
    sweeps = [
        schemas.SweepPreset(
            name=preset.name,
            summary=preset.summary,
            spec=SweepSpec.model_validate({"preset": preset.name}).model_dump(mode="json"),
            published=[schemas.PublishedPoint(**row._asdict()) for row in preset.published],
        )
        for preset in SWEEP_PRESETS.values()
    ]
    return schemas.Presets(items=items, sweeps=sweeps)


@router.get("/datasets")
def datasets() -> schemas.Datasets:
    """Datasets that experiments can name."""
    return schemas.Datasets(items=list(CATALOGUE.values()))
