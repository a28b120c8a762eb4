"""Schema ids: fixed with the schemas, or from a registry that speaks the protocol of Confluent's."""

from __future__ import annotations

import json

from pipeline.codec import Codec, load_schemas
from pipeline.errors import OperationError
from pipeline.settings import Settings

_TIMEOUT_S = 10


class RegistryError(OperationError):
    """The schema registry does not answer, or refuses one of our schemas."""


def codec_of(settings: Settings) -> Codec:
    """Return the codec with the ids that `settings` ask for. Raise `RegistryError`."""
    return Codec(None if settings.schema_registry_url is None else registry_ids(settings.schema_registry_url))


def registry_ids(url: str) -> dict[str, int]:
    """Register every schema that the registry lacks and return the ids by `NAME.vN`.

    The subject is the record's full name (`liquidations.Bar`), whatever topic it travels on, and the versions are
    registered in their order.
    """
    # The client brings an HTTP stack of its own, which only those wait for who ask for a registry.
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient  # noqa: PLC0415
    from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

    ids = {}
    client = SchemaRegistryClient({"url": url, "timeout": _TIMEOUT_S, "max.retries": 1})
    for key, schema in sorted(load_schemas().items(), key=lambda item: (item[1].name, item[1].version)):
        subject = f"{schema.document['namespace']}.{schema.document['name']}"
        try:
            ids[key] = client.register_schema(subject, Schema(json.dumps(schema.document), "AVRO"))
        except SchemaRegistryError as error:
            raise RegistryError(f"the schema registry at {url} refuses {subject}: {error.error_message}") from error
        except Exception as error:
            # The client's transport has error classes of its own; whatever they are, the registry did not answer.
            raise RegistryError(f"the schema registry at {url} does not answer: {error}") from error
    return ids
