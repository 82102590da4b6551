"""Property values as they travel between engine and plugin (sdk/go/common/resource/properties.go)."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""The key of a map that is no map, but a secret, an asset or an archive."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def plain(value: Value) -> Any:
    """The Python value, secrets unwrapped; unknown values stay the string `UNKNOWN`."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields and fields[SIGNATURE].string_value == SECRET:
            return plain(fields["value"])
        return {key: plain(item) for key, item in fields.items()}
    if kind == "list_value":
        return [plain(item) for item in value.list_value.values]
    return getattr(value, kind) if kind and kind != "null_value" else None


def asset(path: Path) -> Value:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    fields = {SIGNATURE: ASSET, "path": str(path), "hash": digest}
    return Value(struct_value=Struct(fields={key: Value(string_value=item) for key, item in fields.items()}))


def archive(assets: dict[str, Value]) -> Value:
    fields = {
        SIGNATURE: Value(string_value=ARCHIVE),
        "assets": Value(struct_value=Struct(fields=assets)),
    }
    return Value(struct_value=Struct(fields=fields))


def step_into(path: str, key: str) -> str:
    """A property path one key deeper; keys with dots, brackets or quotes are quoted."""
    if key and not re.search(r'[."\[\]]', key):
        return f"{path}.{key}"
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
