"""Dagster executor that runs each step in a process of its own and leases graphics cards to steps that ask for them.

What a lease is, and who gets which card, is in `leases.py`; here are the processes and what the UI says of them.
Dagster polls: a step that waits for a card, and one whose process has ended, is looked at once a second.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.context.system import IStepContext, PlanOrchestrationContext
from dagster._core.execution.plan.objects import StepFailureData, StepRetryData, UserFailureData
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.execution.tags import get_tag_concurrency_limits_config
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)
from dagster._utils.interrupts import pop_captured_interrupt
from dagster_shared.error import SerializableErrorInfo

from genomic_platform.defs.failures import refuse_retries
from genomic_platform.errors import GenomicPlatformError, StoreUnavailable
from genomic_platform.executors.devices import Device, ListingFailed, list_devices
from genomic_platform.executors.leases import CANDIDATE_TAG, Busy, DeviceRequest, HeldLease, Impossible, LeaseBook
from genomic_platform.io_managers.versioned import TURN_SECONDS, WORKER_TAG
from genomic_platform.program import FieldSeason
from genomic_platform.settings import Settings, read_settings, step_environment, visible_devices
from genomic_platform.workspace import FOLDER, GRACE_SECONDS, Workspace

#: Signals by which a process is ended from outside; others (a segmentation fault) come from a bug in it.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_SAY_AGAIN_SECONDS = 60.0
_LISTING_SECONDS = 1.0
_RETRY_SECONDS = 1
Events = Generator[DagsterEvent, Any, None]
_ENDS = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_UP_FOR_RETRY,
         dg.DagsterEventType.STEP_SKIPPED}


class StepProcesses(StepHandler):
    """Starts a run's steps as processes, each with its lease, and tells whether they live."""

    def __init__(self, settings: Settings, workspace: Workspace, gpu_missing: str) -> None:
        super().__init__()
        self.book = LeaseBook(workspace.lease_folder)
        self.lost: dict[str, bool] = {}
        """Steps whose process ended without a result: was it ended from outside?"""
        self._settings, self._workspace, self._gpu_missing = settings, workspace, gpu_missing
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._waiting: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self._listing: tuple[float, list[Device]] = (-_LISTING_SECONDS, [])

    @property
    def name(self) -> str:
        return "StepProcesses"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Start the step if it can have what it asks for; else it waits and is looked at again.

        Nothing is raised: an exception here would end all running steps of the run.
        """
        step = _step(step_handler_context)
        self._processes.pop(step.step.key, None)
        self.lost.pop(step.step.key, None)
        self._waiting.setdefault(step.step.key, time.monotonic())
        try:
            yield from self._try(step_handler_context, step)
        except (OSError, GenomicPlatformError) as error:
            yield self._refused(step_handler_context, step, str(error), again=isinstance(error, OSError))

    def _try(self, context: StepHandlerContext, step: IStepContext) -> Iterator[DagsterEvent]:
        request = self.request(context.dagster_run, context.step_tags[step.step.key])
        outcome = self._lease(context, step, request)
        if isinstance(outcome, Impossible) and self._gpu_missing == "cpu":
            reason = f"{outcome.reason}; setting gpu_missing lets it compute on the CPU"
            outcome = self._lease(context, step, DeviceRequest())
            if isinstance(outcome, HeldLease):
                yield from self._start(context, step, outcome, reason)
        elif isinstance(outcome, Impossible):
            yield self._refused(context, step, f"{outcome.reason}; repair: run on a machine that has it, or set "
                                               "gpu_missing = \"cpu\" to compute on the CPU")
        elif isinstance(outcome, HeldLease):
            yield from self._start(context, step, outcome, "")
        else:
            yield from self._waits(context, step, outcome)

    def request(self, run: dg.DagsterRun, tags: Mapping[str, str]) -> DeviceRequest:
        """What a step with these tags asks for in this run."""
        program, recipe = _program(run), tags.get(CANDIDATE_TAG)
        if program and recipe and recipe not in self._workspace.program(program).file.recipes:
            return DeviceRequest()  # the step only says that it fits nothing
        return DeviceRequest.from_tags(tags)

    def _lease(self, context: StepHandlerContext, step: IStepContext,
               request: DeviceRequest) -> HeldLease | Impossible | Busy:
        try:
            devices = self._devices() if request.count else []
            return self.book.take(request, devices, run_id=context.dagster_run.run_id, step_key=step.step.key,
                                  turn=_turn(self._workspace, context.dagster_run))
        except (ListingFailed, StoreUnavailable) as error:
            return Busy(str(error))

    def _devices(self) -> list[Device]:
        """The cards as seen at most a second ago."""
        if time.monotonic() - self._listing[0] >= _LISTING_SECONDS:
            only = [d.strip() for d in self._settings.gpu_devices.split(",") if d.strip()]
            self._listing = (time.monotonic(), list_devices(self._settings.nvidia_smi, only or visible_devices()))
        return self._listing[1]

    def _start(self, context: StepHandlerContext, step: IStepContext, held: HeldLease,
               why_cpu: str) -> Iterator[DagsterEvent]:
        devices = held.lease.devices
        shown = ", ".join(str(d) for d in self._listing[1] if d.uuid in devices) or "CPU"
        waited = time.monotonic() - self._waiting.pop(step.step.key)
        self._said.pop(step.step.key, None)
        metadata: dict[str, Any] = {"device": shown, "waited_seconds": round(waited, 1)}
        yield DagsterEvent.step_worker_starting(
            step, f"Starting step {step.step.key} in a process of its own on {shown}", metadata | (
                {"why_cpu": why_cpu} if why_cpu else {}))
        environment = step_environment("cuda" if devices else "cpu", ",".join(devices))
        try:
            process = subprocess.Popen(_command(context), env=environment, pass_fds=(held.descriptor,),
                                       start_new_session=True)  # a signal to the worker's group is the worker's
        except OSError:
            held.dropped()
            raise
        self._processes[step.step.key] = process
        held.handed_to(process.pid)

    def _waits(self, context: StepHandlerContext, step: IStepContext, busy: Busy) -> Iterator[DagsterEvent]:
        key, now = step.step.key, time.monotonic()
        self._end_finished(context.instance)
        if now - self._said.get(key, -_SAY_AGAIN_SECONDS) < _SAY_AGAIN_SECONDS:
            return
        self._said[key] = now
        yield DagsterEvent.engine_event(step, f"Step {key} waits: {busy.reason}", EngineEventData(
            metadata={"waiting_seconds": round(now - self._waiting[key], 1)}))

    def _end_finished(self, instance: dg.DagsterInstance) -> None:
        """End processes that have a card although their run is over: its worker was killed and nobody told them."""
        left = [a for a in self.book.living() if a.devices
                and (run := instance.get_run_by_id(a.run_id)) is not None and run.is_finished]
        self.book.end(left, GRACE_SECONDS)

    def _refused(self, context: StepHandlerContext, step: IStepContext, reason: str, *,
                 again: bool = False) -> DagsterEvent:
        """The step fails; the run is tried again only if the system was at fault: else it would be refused again."""
        self._waiting.pop(step.step.key, None)
        if not again:
            refuse_retries(context.instance, context.dagster_run)
        return DagsterEvent.step_failure_event(step, StepFailureData(
            SerializableErrorInfo(reason, [], None),
            UserFailureData("refused", reason, {"transient": dg.MetadataValue.bool(again)})))

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Look after a step: start it if it waits and can go, say if its process is gone or has lost its card."""
        step = _step(step_handler_context)
        key = step.step.key
        if key in self._waiting:
            list(self.launch_step(step_handler_context))
            return CheckStepHealthResult.healthy()
        process = self._processes.get(key)
        lease = self.book.of_step(step_handler_context.dagster_run.run_id, key)
        if lease is not None and (process is None or process.poll() is None):
            gone = self._gone(lease.devices)
            if not gone:
                return CheckStepHealthResult.healthy()
            self.book.end([lease], 0)  # nothing could be saved from the card, and trying may hang
            return self._unhealthy(step_handler_context, key, f"its device {', '.join(gone)} is gone", outside=True)
        code = process.wait() if process else None
        return self._unhealthy(step_handler_context, key, _told(code),
                               outside=code is None or (code < 0 and -code in _FROM_OUTSIDE))

    def _gone(self, devices: tuple[str, ...]) -> list[str]:
        """Those of the cards that the driver lists no more; while it does not answer at all, nothing is known."""
        try:
            present = {d.uuid for d in self._devices()} if devices else set()
        except ListingFailed:
            return []
        return [uuid for uuid in devices if uuid not in present]

    def _unhealthy(self, context: StepHandlerContext, key: str, reason: str, *, outside: bool) -> CheckStepHealthResult:
        """Unhealthy, unless the step's own last word is in the log and only not read yet."""
        newest = context.instance.get_records_for_run(
            context.dagster_run.run_id, of_type={*_ENDS, dg.DagsterEventType.STEP_WORKER_STARTING}, ascending=False)
        last = next((e for r in newest.records if (e := r.event_log_entry.dagster_event) and e.step_key == key), None)
        if last is not None and last.event_type in _ENDS:
            return CheckStepHealthResult.healthy()
        self.lost[key] = outside
        return CheckStepHealthResult.unhealthy(reason)

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """End the steps of the run: Dagster ends all or none, so all are told at the first call, together."""
        self._waiting.clear()
        run_id = step_handler_context.dagster_run.run_id
        living = [a for a in self.book.living() if a.run_id == run_id]
        if living:
            yield DagsterEvent.engine_event(_step(step_handler_context), "Ending the processes of steps " + ", ".join(
                a.step_key for a in living), EngineEventData())
        self.book.end(living, GRACE_SECONDS)


class CudaExecutor(StepDelegatingExecutor):
    """Dagster's loop over step processes, which holds the programme's turn for all of them."""

    def __init__(self, handler: StepProcesses, workspace: Workspace, preemption_retries: int, **options: Any) -> None:
        super().__init__(handler, sleep_seconds=0.5, check_step_health_interval_seconds=1, **options)
        self._handler, self._workspace, self._preemption_retries = handler, workspace, preemption_retries

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Events:
        with ExitStack() as held:
            if program := _program(plan_context.dagster_run):
                self._take_turn(plan_context, program, held)
            yield from super().execute(plan_context, execution_plan)

    def _take_turn(self, plan_context: PlanOrchestrationContext, program: str, held: ExitStack) -> None:
        run_id = plan_context.run_id
        plan_context.instance.add_run_tags(run_id, {WORKER_TAG: run_id})
        deadline = time.monotonic() + TURN_SECONDS
        while True:
            try:
                return held.enter_context(self._workspace.turn(program, 1.0, keeps=run_id))
            except StoreUnavailable:
                if pop_captured_interrupt():
                    raise dg.DagsterExecutionInterruptedError from None
                if time.monotonic() >= deadline:
                    raise

    def log_failure_or_retry_event_after_error(self, step_context: IStepContext, err_info: SerializableErrorInfo,
                                               known_state: KnownExecutionState) -> DagsterEvent:
        """A step ended from outside is started again, a few times; one that crashed by itself would crash again."""
        outside = self._handler.lost.pop(step_context.step.key, None)
        attempts = known_state.get_retry_state().get_attempt_count(step_context.step.key)
        if outside and self.retries.enabled and attempts < self._preemption_retries:
            return DagsterEvent.step_retry_event(step_context, StepRetryData(err_info, seconds_to_wait=_RETRY_SECONDS))
        if outside is not None:
            refuse_retries(step_context.instance, step_context.dagster_run)
        return super().log_failure_or_retry_event_after_error(step_context, err_info, known_state)


def _step(context: StepHandlerContext) -> IStepContext:
    """Of the one step that Dagster hands over at a time."""
    return context.get_step_context(next(iter(context.step_tags)))


def _command(context: StepHandlerContext) -> list[str]:
    """`dagster api execute_step …`, by this Python where the code location names none: PATH may have another."""
    name, *arguments = context.execute_step_args.get_command_args()
    return [sys.executable, "-m", "dagster", *arguments] if name == "dagster" else [name, *arguments]


def _program(run: dg.DagsterRun) -> str | None:
    key = run.tags.get("dagster/partition")
    return FieldSeason.from_key(key).program if key else None


def _turn(workspace: Workspace, run: dg.DagsterRun) -> str:
    program = _program(run)
    return str(workspace.turn_file(program)) if program else ""


def _told(code: int | None) -> str:
    """How a process ended without its step's result."""
    if code is None:
        return "its process has ended without a result"
    if code >= 0:
        return f"its process ended with code {code} without a result; see the run's compute logs"
    name = signal.Signals(-code).name
    return f"its process was ended by {name}" + (
        ": by a person, the system that runs it, or the kernel for lack of memory (dmesg tells)"
        if -code == signal.SIGKILL else "")


_GPU_MISSING = dg.Enum("GpuMissing", [
    dg.EnumValue("fail", description="the step fails"), dg.EnumValue("cpu", description="it computes on the CPU")])


@dg.executor(name="cuda", requirements=multiple_process_executor_requirements(), config_schema={
    "max_concurrent": dg.Field(dg.Noneable(dg.IntSource), is_required=False, default_value=None, description="steps at "
                               "once, those that wait for a GPU included; by default the setting step_processes"),
    "gpu_missing": dg.Field(_GPU_MISSING, is_required=False, description="what becomes of a step that asks for a GPU "
                            "this machine does not have; by default the setting of this name"),
    "tag_concurrency_limits": get_tag_concurrency_limits_config(), "retries": get_retries_config()})
def cuda_executor(init_context: dg.InitExecutorContext) -> CudaExecutor:
    """Each step in a process of its own; graphics cards are leased to steps whose tags ask for them."""
    config: Mapping[str, Any] = init_context.executor_config
    settings = read_settings()
    workspace = Workspace(Path(settings.workspace or FOLDER), settings)
    return CudaExecutor(
        StepProcesses(settings, workspace, config.get("gpu_missing") or settings.gpu_missing), workspace,
        settings.preemption_retries, retries=RetryMode.from_config(config["retries"]) or RetryMode.ENABLED,
        max_concurrent=config["max_concurrent"] or settings.step_processes or os.cpu_count() or 1,
        tag_concurrency_limits=config.get("tag_concurrency_limits"))
