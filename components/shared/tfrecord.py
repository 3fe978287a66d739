"""TFRecord files of `tf.train.Example`, without TensorFlow: importing it takes longer than a small data set.

Framing: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details; messages:
`tensorflow/core/example/{example,feature}.proto`. TensorFlow reads these files, and this module reads TensorFlow's.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from components.shared.errors import ContractError

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_CHECKSUM_MASK = 0xA282EAD8
_MAX_RECORD_BYTES = 2**31


_PROTO = """
name: "example.proto" package: "tensorflow" syntax: "proto3"
message_type { name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES } }
message_type { name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 } }
message_type {
  name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.BytesList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type: TYPE_MESSAGE type_name: ".tensorflow.Int64List" oneof_index: 0 }
}
message_type {
  name: "Features"
  field {
    name: "feature" number: 1 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".tensorflow.Features.FeatureEntry"
  }
  nested_type {
    name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".tensorflow.Feature" }
  }
}
message_type {
  name: "Example"
  field { name: "features" number: 1 type: TYPE_MESSAGE type_name: ".tensorflow.Features" }
}
"""


def _example_class() -> Any:
    """Build `tf.train.Example` in a separate descriptor pool, so that the process can also import TensorFlow."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_PROTO, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_Example = _example_class()


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """Return a serialised `tf.train.Example`; equal features give equal bytes."""
    example = _Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        (feature.int64_list if isinstance(value, int) else feature.bytes_list).value.append(value)
    return bytes(example.SerializeToString(deterministic=True))


def decode_example(record: bytes) -> dict[str, Any]:
    """Return the features of a serialised `tf.train.Example` with one value per feature, bytes or an integer."""
    features = _Example.FromString(record).features.feature
    return {name: getattr(features[name], features[name].WhichOneof("kind")).value[0] for name in features}


class RecordWriter:
    """A writer that appends records to a new TFRecord file."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")

    def write(self, record: bytes) -> None:
        """Append a record with its checksums."""
        length = _LENGTH.pack(len(record))
        self._file.writelines((length, _checksum(length), record, _checksum(record)))

    def close(self) -> None:
        """Close the file; a second call is a no-op."""
        self._file.close()


def read_records(file: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file.

    Raises:
        ContractError: The file is damaged or truncated.
    """
    with file.open("rb") as source:
        while length := source.read(_LENGTH.size):
            _verify_checksum(length, source, file)
            count = _LENGTH.unpack(length)[0]
            if count > _MAX_RECORD_BYTES:
                raise _damaged(file)
            record = source.read(count)
            _verify_checksum(record, source, file)
            yield record


def _verify_checksum(content: bytes, source: BinaryIO, file: Path) -> None:
    if source.read(_CHECKSUM.size) != _checksum(content):
        raise _damaged(file)


def _damaged(file: Path) -> ContractError:
    return ContractError(f"{file} is damaged or truncated", "complete TFRecords", "Create the data set again.")


def _checksum(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return _CHECKSUM.pack(((crc >> 15 | crc << 17) + _CHECKSUM_MASK) & 0xFFFFFFFF)
