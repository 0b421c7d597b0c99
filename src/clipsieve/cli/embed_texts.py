"""Embed a list of texts with an encoder's text tower.

The list is the tokenizer's whole vocabulary (each token decoded and written as a prompt), the
phrases that ship with this package, a file with one text per line, or such a file fetched from an
address with its hash pinned and its licence accepted. Near-duplicates are marked, not dropped.
Where no text tower can be had, names and vectors that were made elsewhere are taken over.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import urllib.request
from pathlib import Path

from clipsieve.cli.options import add_spec, json_object
from clipsieve.errors import UserError
from clipsieve.io.phrases import own_phrases

HELP = "embed a vocabulary or a list of phrases with the text tower"

log = logging.getLogger("clipsieve")

_LARGEST_FETCH = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", required=True, help="id of the encoder")
    add_spec(parser)
    parser.add_argument(
        "--kind",
        required=True,
        choices=("vocabulary", "phrases", "file", "url", "embeddings"),
        help="vocabulary: every token of the tokenizer; phrases: the package's own list; file, url:"
        " your own list; embeddings: texts with their vectors",
    )
    parser.add_argument(
        "--file",
        type=Path,
        help="UTF-8, one text a line (kind file); arrays text and embedding [n, D] in npz, HDF5 or"
        " parquet (kind embeddings)",
    )
    parser.add_argument(
        "--embeddings",
        metavar="H5",
        help="embeddings of images by the same encoder, whose width the vectors must have (kind"
        " embeddings)",
    )
    parser.add_argument("--url", help="https address of such a file (kind url)")
    parser.add_argument("--sha256", help="sha256 that the fetched file must have (kind url)")
    parser.add_argument(
        "--consent",
        action="store_true",
        help="you have read the licence of the fetched list and your use is within it (kind url)",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=None,
        help="folder for fetched lists (default: as for weights)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=256, help="texts per forward pass (default %(default)s)"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=None,
        help="threads (default: the cores this process may use)",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="H5", help="the embedded texts to write"
    )
    parser.epilog = (
        "example:\n  clipsieve embed-texts --encoder clip_b16 --kind phrases \\\n"
        '    --spec \'{"model": "ViT-B-16-quickgelu", "weights": "openai"}\' \\\n'
        "    --output texts/clip_b16/phrases.h5"
    )


def run(args: argparse.Namespace) -> None:
    from clipsieve.io import store

    spec = json_object(args.spec, "--spec")
    if args.batch_size < 1:
        raise UserError(f"--batch-size {args.batch_size}: must be 1 or more")
    if args.kind == "embeddings":
        _take_over(args)
        return
    texts = None if args.kind == "vocabulary" else _lines(args)
    from clipsieve.encoders.parallel import set_threads

    set_threads(args.threads)

    from clipsieve.encoders import load_encoder
    from clipsieve.encoders.texts import mark_duplicates, vocabulary_prompts

    encoder = load_encoder(spec)
    if not encoder.has_text:
        raise UserError(
            f"encoder {args.encoder}: its weights hold no text tower; leave out its text stages"
            " (has_text: false) or choose weights with both towers"
        )
    if texts is None:
        texts, marks = vocabulary_prompts(encoder.tokenizer)
    else:
        marks = mark_duplicates(texts)
    embedding = encoder.encode_texts(texts, batch_size=args.batch_size)
    store.write_texts(
        args.output,
        text=texts,
        embedding=embedding,
        duplicate_of=marks,
        attributes={
            "encoder": args.encoder,
            "texts": args.kind,
            "source": str(args.url or args.file or "clipsieve"),
            **encoder.attributes(),
        },
    )
    log.info(
        "%s: %d texts, %d of them near-duplicates", args.output, len(texts), (marks >= 0).sum()
    )


def _take_over(args: argparse.Namespace) -> None:
    """Write vectors that were made elsewhere, after checking them."""
    import numpy as np

    from clipsieve.encoders.texts import mark_duplicates
    from clipsieve.io import imported, store
    from clipsieve.io.files import sha256_of

    if args.file is None or args.embeddings is None:
        raise UserError("--kind embeddings: needs --file and --embeddings")
    texts, vectors = imported.read_texts(args.file)
    width = store.read_embeddings(args.embeddings).embedding.shape[1]
    if vectors.shape[1] != width:
        raise UserError(
            f"--file {args.file}: vectors of {vectors.shape[1]} numbers; embeddings of images by"
            f" {args.encoder} have {width}"
        )
    repeated = len(vectors) - len(np.unique(vectors, axis=0))
    if repeated:
        log.warning("%s: %d vectors stand under more than one text", args.file, repeated)
    marks = mark_duplicates(texts)
    store.write_texts(
        args.output,
        text=texts,
        embedding=vectors,
        duplicate_of=marks,
        attributes={
            "encoder": args.encoder,
            "texts": args.kind,
            "source": args.file.name,
            "source_sha256": sha256_of(args.file),
            "model": "precomputed",
            "embedding_size": width,
        },
    )
    log.info(
        "%s: %d texts, %d of them near-duplicates", args.output, len(texts), (marks >= 0).sum()
    )


def _lines(args: argparse.Namespace) -> list[str]:
    """Return the texts of a list, one a line, without empty lines."""
    if args.kind == "phrases":
        return own_phrases()
    path = args.file if args.kind == "file" else _fetched(args)
    if path is None:
        raise UserError("--kind file: needs --file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--file {path}: can't be read as UTF-8 text ({error})") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"--file {path}: no text in it")
    return lines


def _answer(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data: bytes = answer.read(_LARGEST_FETCH + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"--url {url}: can't be fetched ({error})") from error
    return data


def _fetched(args: argparse.Namespace) -> Path:
    """Fetch a list once, check its hash, and return where it is kept."""
    from clipsieve.io.files import default_cache, replacing, sha256_of

    if not args.url:
        raise UserError("--kind url: needs --url and --sha256")
    if not args.consent:
        raise UserError(
            f"--url {args.url}: read the licence of this list, then pass --consent"
            " (in the config: consent: true); it is not fetched without consent"
        )
    if not args.url.startswith("https://"):
        raise UserError(f"--url {args.url}: must begin with https://")
    path = Path(args.cache or default_cache()) / "texts" / f"{args.sha256}.txt"
    if not (path.is_file() and sha256_of(path) == args.sha256):
        data = _answer(args.url)
        if not args.sha256:
            raise UserError(
                f"--url {args.url}: no --sha256 says which list is meant; the sha256 of what is there now"
                f" is {hashlib.sha256(data).hexdigest()} ({len(data.splitlines())} lines): if it is"
                " the right list, pass that (in the config: sha256)"
            )
        with replacing(path) as temporary:
            temporary.write_bytes(data)
            found = sha256_of(temporary)
            if found != args.sha256:
                raise UserError(f"--url {args.url}: sha256 is {found}, not {args.sha256}")
    return path
