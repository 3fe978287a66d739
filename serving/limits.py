"""The server's limits for requests: sizes, counts and timeouts."""

from components.shared.config import Frozen
from components.shared.images.decoding import MAX_PIXELS


class Limits(Frozen):
    """Limits of requests.

    Attributes:
        max_body_bytes: Largest body of a request, which can hold a file of `MAX_FILE_BYTES` in base64.
        max_value_bytes: Largest body of a request that has more JSON values than images and names of specimens need.
        max_held_bytes: Largest sum of the bodies in memory; requests beyond it get 503.
        max_instances: Most slices in a request.
        max_pixels: Most pixels in all slices of a request together.
        max_pixel_lists: Most JSON lists in a request to the signature `crops`, which has one per pixel.
        max_head_bytes: Largest request line with headers.
        head_timeout_s: Seconds for the arrival of a head, and of the rest of a rejected body.
        read_timeout_s: Seconds for the arrival of a body.
        answer_timeout_s: Seconds for the computation of an answer.
        max_connections: Most connections; a further one replaces an idle one, or gets 503.
        max_in_flight: Most requests that are processed at a time; requests beyond it get 503.
    """

    max_body_bytes: int = 172 * 2**20
    max_value_bytes: int = 16 * 2**20
    max_held_bytes: int = 256 * 2**20
    max_instances: int = 256
    max_pixels: int = MAX_PIXELS
    max_pixel_lists: int = 1_000_000
    max_head_bytes: int = 64 * 2**10
    head_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    answer_timeout_s: float = 60.0
    max_connections: int = 512
    max_in_flight: int = 32
