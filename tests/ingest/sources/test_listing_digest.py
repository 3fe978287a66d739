"""The digest of a listing in an object store follows the versions of its objects."""

from typing import Any

import pytest

from components.ingest.sources.listing_digest import listing_digest


@pytest.mark.usefixtures("store_environment")
def test_an_object_with_other_content_changes_the_digest(store: Any) -> None:
    files = store.files()
    for name in ("a", "b", "c"):
        files.pipe_file(f"lab/listing/Alba/{name}.nii", b"content")
    before = listing_digest("s3://lab/listing", confined=True)
    assert listing_digest("s3://lab/listing", confined=True) == before
    files.pipe_file("lab/listing/Alba/a.nii", b"CONTENT")
    assert listing_digest("s3://lab/listing", confined=True) != before
