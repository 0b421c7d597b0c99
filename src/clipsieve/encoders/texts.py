"""Texts: the tokenizer's vocabulary as prompts, near-duplicates, prompts cut to their length."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn


def vocabulary_prompts(tokenizer: Any) -> tuple[list[str], np.ndarray]:
    """Decode every token of a tokenizer into a prompt.

    The paper's t_i is read as the decoded token written as a prompt. Tokens that mark the start,
    end or padding of a prompt are left out. Byte fragments and control characters become the
    replacement character.

    Parameters
    ----------
    tokenizer : open_clip SimpleTokenizer or HFTokenizer

    Returns
    -------
    prompts : list of str
        In the order of the token ids, without surrounding white space.
    duplicate_of : int64 array
        See `mark_duplicates`.
    """
    inner = getattr(tokenizer, "tokenizer", tokenizer)
    size = getattr(inner, "vocab_size", None) or len(inner)
    special = set(getattr(inner, "all_special_ids", []))
    decoded = (inner.decode([i]).strip() for i in range(int(size)) if i not in special)
    prompts = ["".join(c if c.isprintable() else "\ufffd" for c in prompt) for prompt in decoded]
    return prompts, mark_duplicates(prompts)


def mark_duplicates(texts: Sequence[str]) -> np.ndarray:
    """Mark texts that repeat an earlier one but for case, spacing and punctuation around words.

    Returns
    -------
    int64 array [n]
        The index of the first such text, -1 for a text that is the first of its kind.
    """
    first: dict[str, int] = {}
    marks = np.full(len(texts), -1, dtype=np.int64)
    for index, text in enumerate(texts):
        earlier = first.setdefault(_key(text), index)
        if earlier != index:
            marks[index] = earlier
    return marks


def _key(text: str) -> str:
    """What near-duplicates share: letters and digits, case folded; the text if it has none."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    words = "".join(c if c.isalnum() else " " for c in folded).split()
    return " ".join(words) or folded


def encode_texts(
    model: nn.Module,
    tokenizer: Any,
    texts: Sequence[str],
    device: torch.device,
    batch_size: int = 256,
) -> np.ndarray:
    """Embed texts with an open_clip model, float32 [n, D].

    Prompts with the same token ids are encoded once. The rest are sorted by length, and each batch
    is cut to its longest prompt where `can_be_cut`; other towers get the full context length.
    """
    import torch

    from clipsieve.encoders.parallel import side_by_side

    pieces = [tokenizer(list(texts[k : k + 4096])) for k in range(0, len(texts), 4096)]
    tokens = torch.cat(pieces).numpy()
    unique, inverse = np.unique(tokens, axis=0, return_inverse=True)
    tower = getattr(model, "text", model)
    cut = can_be_cut(tower)
    lengths = _lengths(tower, unique) if cut else np.full(len(unique), unique.shape[1])
    order = np.argsort(lengths, kind="stable")
    parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    @torch.inference_mode()
    def encode(rows: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(unique[rows, : lengths[rows].max()]).to(device)
        features = encode_cut(tower, batch) if cut else model.encode_text(batch)
        return features.float().cpu().numpy()

    on_cpu = torch.device(device).type == "cpu"
    encoded = side_by_side(encode, parts) if on_cpu else [encode(rows) for rows in parts]
    result = np.empty((len(unique), encoded[0].shape[1]), np.float32)
    result[order] = np.concatenate(encoded)
    return result[np.ravel(inverse)]


def can_be_cut(tower: nn.Module) -> bool:
    """Say whether what follows the end token can't reach the embedding of this text tower.

    True for a causal tower that reads its embedding at the end token and appends no class token.
    """
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    return (
        getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
        and pool in ("argmax", "eos")
        and hasattr(tower, "token_embedding")
    )


def encode_cut(tower: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Embed prompts [n, length] with the positional table and the causal mask cut to their length.

    `tower` is an open_clip `CLIP` (whose text parts lie on the model) or `TextTransformer`.
    """
    import torch
    from torch import nn

    length = tokens.shape[1]
    dtype = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    rows = torch.arange(len(tokens), device=tokens.device)
    x = tower.ln_final(x[rows, end_positions(tower, tokens)])
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def end_positions(tower: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return where each prompt's embedding is read: its (first) end token."""
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    if pool == "argmax":
        return tokens.argmax(dim=-1)
    end = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    return (tokens == end).int().argmax(dim=-1)


def _lengths(tower: nn.Module, tokens: np.ndarray) -> np.ndarray:
    import torch

    return end_positions(tower, torch.from_numpy(tokens)).numpy() + 1
