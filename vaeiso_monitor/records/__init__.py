"""Records: what they are (schema), how they are read (decoder), how they are encoded."""

from vaeiso_monitor.records.decode import Decoder
from vaeiso_monitor.records.encode import Encoder
from vaeiso_monitor.records.encoder_config import EncoderConfig
from vaeiso_monitor.records.infer import Inference, infer_schema, inspect_sample
from vaeiso_monitor.records.layout import Dropped, Feature
from vaeiso_monitor.records.schema import Column, Schema
from vaeiso_monitor.records.schema_toml import write_schema_toml
from vaeiso_monitor.records.times import parse_time

__all__ = [
    "Column",
    "Decoder",
    "Dropped",
    "Encoder",
    "EncoderConfig",
    "Feature",
    "Inference",
    "Schema",
    "infer_schema",
    "inspect_sample",
    "parse_time",
    "write_schema_toml",
]
