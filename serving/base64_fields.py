"""Base64 in requests, as encoders of different languages write it.

TensorFlow Serving ignores white space and accepts text without padding. Java's MIME encoder and the command `base64`
write line breaks, and encoders for addresses and tokens write `-` and `_` in place of `+` and `/`.
"""

import base64

_WHITE_SPACE = b" \t\n\v\f\r"
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")


def decode_base64(text: str) -> bytes:
    """Decode base64 of the standard or the URL-safe alphabet, with or without line breaks and padding.

    Raises:
        ValueError: The text has another character, an impossible length, or wrong padding.
    """
    if text[:5].lower() == "data:":
        raise ValueError("the text is a data URL: send only the part after the comma")
    try:
        symbols = text.encode("ascii").translate(_STANDARD_ALPHABET, _WHITE_SPACE)
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is not ASCII") from error
    content = symbols.rstrip(b"=")
    padding = len(symbols) - len(content)
    if len(content) % 4 == 1 or (padding and (padding > 2 or len(symbols) % 4)):
        raise ValueError(f"{len(content)} characters and {padding} of padding")
    return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
