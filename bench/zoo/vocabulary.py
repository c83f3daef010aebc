"""The vocabularies of the zoo: small and fixed, built from code and not from a corpus.

Frequent words of a suite are one token together with their leading space, all other characters are tokens of
their own. Decoding joins the pieces as they are: ``decode(encode(text)) == text`` for every text made of the
vocabulary's characters. No token is added at the front. There is no fallback for unknown characters: what is not
in the vocabulary is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
# How byte-level vocabularies write the two characters that are not printed as themselves.
_BYTE_LEVEL = str.maketrans({" ": "\u0120", "\n": "\u010a"})

Tokenizer = TypeVar("Tokenizer", bound=PreTrainedTokenizerBase)


@dataclass(frozen=True)
class Vocabulary:
    """Characters, pieces that are one token as they are, and words that are one with their leading space."""

    characters: str
    pieces: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def whole(self) -> list[str]:
        """What is never cut: pieces, and words (each once) with their leading space."""
        return [*self.pieces, *(f" {word}" for word in dict.fromkeys(self.words))]

    @property
    def ids(self) -> dict[str, int]:
        """Every token and its id: special tokens, characters, pieces, words."""
        tokens = [PAD, EOS, UNK, *self.characters.translate(_BYTE_LEVEL), *self.whole]
        return {token: index for index, token in enumerate(tokens)}

    def tokenizer(self, kind: type[Tokenizer], **settings: Any) -> Tokenizer:
        """A byte-level tokenizer without merges, ready for ``save_pretrained``; the words are added tokens."""
        made = kind(
            vocab=self.ids,
            merges=[],
            pad_token=PAD,
            eos_token=EOS,
            unk_token=UNK,
            clean_up_tokenization_spaces=False,
            **settings,
        )
        made.add_tokens([AddedToken(piece, normalized=False) for piece in self.whole])
        return made
