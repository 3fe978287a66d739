"""JSON responses."""

from typing import Any

from starlette.responses import Response

from serving.protocol import RequestError, encode_answer


def json_response(content: Any, status: int = 200) -> Response:
    """Return a JSON response; a 503 asks the client to retry after a second."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(encode_answer(content), status, headers, "application/json")


def error_response(error: RequestError) -> Response:
    """Return the JSON response for an error."""
    return json_response({"error": str(error)}, error.status)
