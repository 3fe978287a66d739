"""Documents are read as they were written; anything else is rejected."""

import json
from pathlib import Path

import pytest

from components.shared.contracts import (
    BackboneCard,
    DriftEvent,
    Example,
    FileDigests,
    GateVerdict,
    ModelCard,
    SlicesInfo,
    SplitCount,
)
from components.shared.contracts.document import MAX_DOCUMENT_BYTES, Document
from components.shared.errors import ContractError
from tests.model_cards import model_score

VERDICT = GateVerdict(passed=True, accuracy=0.96, threshold=0.95, reasons=("good",))
DOCUMENTS: list[Document] = [
    SlicesInfo(
        classes=("a", "b"),
        image_size=64,
        channels=1,
        counts=(SplitCount(species="a", split="train", specimens=3, slices=9),),
        seed=1,
        preprocessing={"ingest": {"planes": "random"}},
        sources_hash="0" * 64,
    ),
    BackboneCard(
        backbone="cnn_small",
        parameters=10,
        image_size=64,
        channels=1,
        classes=("a", "b"),
        recipe={"epochs": 1},
        history=({"loss": 1.0},),
        metrics={"accuracy": 0.5},
        data_hash="0" * 64,
        seconds=1.5,
    ),
    ModelCard(
        name="forams",
        classes=("a", "b"),
        channels=1,
        segmented=True,
        members=("cnn_small",),
        rule="best single: cnn_small",
        metrics=model_score(0.96, auc=None),
        thresholds={"unknown_above": 0.4},
        gate=VERDICT,
        data_hash="0" * 64,
        code_version="0.1.0",
        examples=(Example(id="x", file="examples/x.png", species="a", scores=(0.9, 0.1)),),
    ),
    FileDigests(files={"saved_model.pb": "0" * 64}),
    DriftEvent(
        id="1",
        time=1.0,
        model="forams",
        version=3,
        specimen="s",
        species="a",
        confidence=0.9,
        unknown=False,
        descriptors={"entropy": 4.5},
        embedding=(0.5,),
    ),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_document_is_read_as_it_was_written(document: Document, tmp_path: Path) -> None:
    document.write(tmp_path / "document.json")
    assert type(document).read(tmp_path / "document.json") == document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_another_schema_version_is_rejected_with_both_names(document: Document) -> None:
    text = document.to_json().replace(document.SCHEMA, "taxonflow.other/9")
    with pytest.raises(ContractError, match=rf"taxonflow.other/9.*{document.SCHEMA}"):
        type(document).parse(text, "somewhere.json")


OLD_MODEL = Path(__file__).parents[1] / "fixtures" / "served-model-0.1.0" / "foraminifera" / "1"
OLD_EVENTS = Path(__file__).parents[1] / "fixtures" / "drift-events-0.1.0"


def test_a_model_card_of_0_1_0_is_read_with_todays_fields() -> None:
    stored = json.loads((OLD_MODEL / "model.json").read_text())
    card = ModelCard.read(OLD_MODEL / "model.json")
    assert stored["schema"] != ModelCard.SCHEMA
    assert card.metrics.accuracy == stored["metrics"]["accuracy"]
    assert card.metrics.unknown_score == "mahalanobis"
    assert card.metrics.species["Fallotia"].recall == stored["metrics"]["species"]["Fallotia"]["recall"]
    assert card.backbones["cnn_small"].macro_f1 == stored["backbones"]["cnn_small"]["macro_f1"]
    assert ModelCard.parse(card.to_json(), "written again") == card


def test_open_set_scores_of_0_1_0_get_todays_names() -> None:
    fields = json.loads((OLD_MODEL / "model.json").read_text())
    fields["metrics"]["unknown_score"] = "doubt + solitude"
    assert ModelCard.parse(json.dumps(fields), "card").metrics.unknown_score == "max_softmax + knn"


@pytest.mark.parametrize("metrics", [{}, None, {"unknown_score": 3}])
def test_a_card_of_0_1_0_with_damaged_metrics_is_rejected(metrics: object) -> None:
    fields = {**json.loads((OLD_MODEL / "model.json").read_text()), "metrics": metrics}
    with pytest.raises(ContractError, match="metrics"):
        ModelCard.parse(json.dumps(fields), "card")


def test_a_card_of_0_1_0_with_an_unknown_schema_is_rejected() -> None:
    text = (OLD_MODEL / "model.json").read_text().replace("served-model/1", "served-model/0")
    with pytest.raises(ContractError, match="served-model/0"):
        ModelCard.parse(text, "card")


def test_drift_events_of_0_1_0_are_read() -> None:
    lines = [line for path in OLD_EVENTS.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    events = [DriftEvent.from_line(line, "events") for line in lines]
    assert [event.time for event in events] == sorted(event.time for event in events)
    assert {event.model for event in events} == {"foraminifera"}


def test_an_unknown_field_is_rejected_by_name() -> None:
    fields = {**json.loads(DOCUMENTS[0].to_json()), "colour": "red"}
    with pytest.raises(ContractError, match="colour"):
        SlicesInfo.parse(json.dumps(fields), "somewhere.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": []}', "null", "3", '"text"', "[" * 100_000])
def test_other_texts_are_rejected_with_their_source(text: str) -> None:
    with pytest.raises(ContractError, match=r"somewhere.json"):
        SlicesInfo.parse(text, "somewhere.json")


def test_a_missing_file_is_rejected_by_name(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"nowhere.json does not exist"):
        SlicesInfo.read(tmp_path / "nowhere.json")


def test_a_document_beyond_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(MAX_DOCUMENT_BYTES + 1)
    with pytest.raises(ContractError, match="at most"):
        SlicesInfo.read(path)


def test_a_document_beyond_the_size_limit_is_not_written(tmp_path: Path) -> None:
    card = FileDigests(files={"weights": "0" * MAX_DOCUMENT_BYTES})
    with pytest.raises(ContractError, match="at most"):
        card.write(tmp_path / "digests.json")
    assert list(tmp_path.iterdir()) == []


def test_a_drift_event_is_one_line() -> None:
    event = DOCUMENTS[-1]
    assert isinstance(event, DriftEvent)
    assert "\n" not in event.to_line()
    assert DriftEvent.from_line(event.to_line().encode(), "line 1") == event


def test_any_changed_bit_of_a_drift_event_is_detected() -> None:
    event = DOCUMENTS[-1]
    assert isinstance(event, DriftEvent)
    line = event.to_line().encode()
    for position in range(len(line)):
        for bit in range(8):
            damage = line[:position] + bytes([line[position] ^ 1 << bit]) + line[position + 1 :]
            with pytest.raises(ContractError, match="CRC-32"):
                DriftEvent.from_line(damage, "line 1")


@pytest.mark.parametrize("line", [b"", b"}", b'{"crc32":"00000000"}', b"x" * 1000])
def test_a_line_without_a_checksum_is_rejected(line: bytes) -> None:
    with pytest.raises(ContractError, match="CRC-32"):
        DriftEvent.from_line(line, "line 1")
