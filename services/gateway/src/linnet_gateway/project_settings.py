"""What a deployment decides for single projects."""

from pydantic import BaseModel, ConfigDict, Field


class ProjectSettings(BaseModel):
    """Limits and retention of one project; what is left out is as the setting for all says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_queued_runs: int | None = Field(default=None, ge=0)
    """Runs that may wait or be under way at once; 0 takes none."""
    max_queued_spec_bytes: int | None = Field(default=None, ge=0)
    """Specs of those runs, scripts included."""
    max_shards: int | None = Field(default=None, ge=1, le=100_000)
    """Shards that run at once, in place of `max_shards_per_project`."""
    run_life_days: float | None = Field(default=None, ge=0)
    """Days that terminal runs are kept; 0 keeps them for ever."""
    runs_kept: int | None = Field(default=None, ge=0)
    """Newest terminal runs that are kept; 0 keeps all."""
    log_life_days: float | None = Field(default=None, ge=0)
    """Days that their output is kept; 0 keeps it as long as the run."""
    artifact_life_days: float | None = Field(default=None, ge=0)
    """Days that their artifacts are kept; 0 keeps them as long as the run."""
