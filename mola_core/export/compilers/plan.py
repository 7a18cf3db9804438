"""What TensorRT and TensorRT-RTX have in common: parse the graph, build a serialised plan of named tensors.

Networks are strongly typed: the graph's own types decide the precision, layer by layer. TensorRT 10 needs a flag for that, 11 and
RTX know nothing else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mola_core.export.compilers.protocol import CompileJob
from mola_core.export.errors import ExportError

WORKSPACE_BYTES = 4 << 30


def build_plan(
    api: Any,
    job: CompileJob,
    *,
    configure: Callable[[Any], None],
    timing_cache: Path | None = None,
) -> None:
    """Compile ``job`` with ``api``, the module of either runtime; ``configure`` says for which architecture.

    Raises:
        ExportError: the graph does not parse, or no plan came out.
    """
    logger = api.Logger(api.Logger.ERROR)
    builder = api.Builder(logger)
    network = builder.create_network(_strongly_typed(api))
    parser = api.OnnxParser(network, logger)
    if not parser.parse_from_file(str(job.graph)):
        problems = "; ".join(str(parser.get_error(index).desc()) for index in range(parser.num_errors))
        raise ExportError(f"{api.__name__} does not understand the graph of {job.stage}: {problems}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    configure(config)
    cache = _begin_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ExportError(f"{api.__name__} {api.__version__} built no engine of {job.stage} for {job.arch}")
    job.out.write_bytes(plan)
    if cache is not None and timing_cache is not None:
        timing_cache.write_bytes(cache.serialize())


def _strongly_typed(api: Any) -> int:
    flag = getattr(api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _begin_cache(config: Any, path: Path | None) -> Any:
    """Timings measured before need not be measured again on the same card."""
    if path is None:
        return None
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    return cache
