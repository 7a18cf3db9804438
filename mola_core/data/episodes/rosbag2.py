"""What makes a folder with an MCAP file a bag of rosbag2: ``metadata.yaml`` and the channels' own metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from mcap.records import Channel, Schema

from mola_core.data.episodes.definitions import Definition

VERSION = 9
"""Of metadata.yaml, as Jazzy writes it."""
ROS_DISTRO = "jazzy"
_FOREVER = {"sec": 9223372036, "nsec": 854775807}


@dataclass(frozen=True, slots=True)
class Qos:
    """How a topic is published."""

    depth: int
    reliability: Literal["reliable", "best_effort"]
    durability: Literal["volatile", "transient_local"]

    def to_yaml(self) -> dict[str, Any]:
        """As rosbag2 spells it."""
        return {
            "history": "keep_last",
            "depth": self.depth,
            "reliability": self.reliability,
            "durability": self.durability,
            "deadline": dict(_FOREVER),
            "lifespan": dict(_FOREVER),
            "liveliness": "automatic",
            "liveliness_lease_duration": dict(_FOREVER),
            "avoid_ros_namespace_conventions": False,
        }


@dataclass(frozen=True, slots=True)
class RecordedTopic:
    """One stream of a bag."""

    name: str
    definition: Definition
    qos: Qos


def records_of(topics: Sequence[RecordedTopic]) -> tuple[list[Schema], list[Channel]]:
    """Schemas and channels; the channel of ``topics[i]`` has the id ``i + 1``."""
    ids: dict[str, int] = {}
    schemas, channels = [], []
    for number, topic in enumerate(topics, start=1):
        definition = topic.definition
        if definition.type_name not in ids:
            ids[definition.type_name] = len(ids) + 1
            schemas.append(
                Schema(id=len(ids), name=definition.type_name, encoding="ros2msg", data=definition.text.encode("utf-8"))
            )
        channels.append(
            Channel(
                id=number,
                topic=topic.name,
                message_encoding="cdr",
                schema_id=ids[definition.type_name],
                metadata={
                    "offered_qos_profiles": yaml.safe_dump([topic.qos.to_yaml()], sort_keys=False),
                    "topic_type_hash": definition.type_hash,
                },
            )
        )
    return schemas, channels


def metadata_yaml(
    *,
    file_name: str,
    schemas: Sequence[Schema],
    channels: Sequence[Channel],
    counts: Mapping[int, int],
    start_ns: int,
    end_ns: int,
) -> str:
    """The text of ``metadata.yaml``; ``counts`` are messages by channel id."""
    types = {schema.id: schema.name for schema in schemas}
    total = sum(counts.values())
    span = {"duration": {"nanoseconds": end_ns - start_ns}, "starting_time": {"nanoseconds_since_epoch": start_ns}}
    information = {
        "version": VERSION,
        "storage_identifier": "mcap",
        **span,
        "message_count": total,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": channel.topic,
                    "type": types[channel.schema_id],
                    "serialization_format": channel.message_encoding,
                    "offered_qos_profiles": yaml.safe_load(channel.metadata.get("offered_qos_profiles", "[]")),
                    "type_description_hash": channel.metadata.get("topic_type_hash", ""),
                },
                "message_count": counts.get(channel.id, 0),
            }
            for channel in channels
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file_name],
        "files": [{"path": file_name, **_copied(span), "message_count": total}],
        "custom_data": {},
        "ros_distro": ROS_DISTRO,
    }
    return yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False)


def _copied(span: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Objects of their own, which YAML does not replace by references."""
    return {key: dict(value) for key, value in span.items()}
