"""The parts of a worker that a setting may leave out, for its metrics and its status document."""

from __future__ import annotations

from attrs import frozen

from vespa.worker.backends.affinity import Affinity
from vespa.worker.backends.readiness import BackendsReadiness
from vespa.worker.engine.aborts import Aborts
from vespa.worker.engine.job_polls import JobPolls
from vespa.worker.engine.job_watcher import JobWatcher
from vespa.worker.sessions.sessions import Sessions
from vespa.worker.usage.meter import UsageMeter
from vespa.worker.usage.recalibration import Recalibration


@frozen(kw_only=True)
class OptionalParts:
    """Each is None where it is off. `backends` is the readiness of several, None if there is only one."""

    backends: BackendsReadiness | None = None
    affinity: Affinity | None = None
    sessions: Sessions | None = None
    usage: UsageMeter | None = None
    recalibration: Recalibration | None = None
    aborts: Aborts | None = None
    jobs: JobWatcher | None = None
    polls: JobPolls | None = None
