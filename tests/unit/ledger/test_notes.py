"""Signed notes, checkpoints, cosignatures and proof texts, with the published examples of each."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ledger.errors import MalformedProof, NotProven
from ledger.transparency.checkpoints import Checkpoint, open_checkpoint
from ledger.transparency.keys import COSIGNATURE, SignerKey, VerifierKey
from ledger.transparency.merkle import EMPTY_ROOT, leaf_hash, node_hash
from ledger.transparency.notes import Note
from ledger.transparency.proofs import LogProof

# golang.org/x/mod/sumdb/note, note_test.go
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_SIGNED = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_SIGNED = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}"

# https://c2sp.org/signed-note
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

# https://c2sp.org/tlog-cosignature
COSIGNED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501  signatures don't break


def key(name: str, seed: int = 1, **options: int) -> SignerKey:
    return SignerKey.generate(name, random.Random(seed).randbytes, **options)


LOG = key("log.example/orders")
WITNESS = key("witness.example/w1", 2, algorithm=COSIGNATURE)


def test_the_published_note_is_signed_by_both() -> None:
    note = Note.parse(NOTE.encode())

    assert note.text == TEXT
    assert str(note) == NOTE
    assert note.verified([VerifierKey.parse(PETER), VerifierKey.parse(ENOCH)]) == [
        *map(VerifierKey.parse, (PETER, ENOCH))
    ]
    assert note.verified([VerifierKey.parse(ENOCH)]) == [VerifierKey.parse(ENOCH)]


def test_the_example_of_the_specification_is_signed() -> None:
    example = VerifierKey.parse(EXAMPLE_KEY)

    assert Note.parse(EXAMPLE_NOTE.encode()).verified([example]) == [example]
    assert str(example) == EXAMPLE_KEY


def test_a_note_is_signed_as_x_mod_signs_it() -> None:
    signer = SignerKey.parse(PETERS_SECRET)

    assert str(Note.signed(TEXT, [signer])) == f"{TEXT}\n{PETER_SIGNED}"
    assert str(signer.verifier) == PETER
    assert signer.secret_text == PETERS_SECRET
    assert "AYEK" not in repr(signer)


@pytest.mark.parametrize(("parse", "text"), [(VerifierKey.parse, PETER), (SignerKey.parse, PETERS_SECRET)])
def test_mangled_keys_are_refused(parse: type, text: str) -> None:
    mangled = {text[begin:end] for begin in range(len(text)) for end in range(begin, len(text) + 1)} - {text}
    mangled |= {f"{text[:at]}{chr(ord(text[at]) + 1)}{text[at + 1 :]}" for at in range(len(text))}
    mangled |= {
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # a longer key, with its id
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # another algorithm, with its id
        "",
    }
    for each in mangled:
        with pytest.raises(MalformedProof):
            parse(each)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb", "a\u2028b"])
def test_names_of_keys(name: str) -> None:
    with pytest.raises(MalformedProof):
        key(name)


@pytest.mark.parametrize(
    "note",
    [
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{PETER_SIGNED[:-1]}",
        f"\x01{TEXT}\n{PETER_SIGNED}",
        f"{TEXT}\n— Bad Name {PETER_SIGNED.rsplit(maxsplit=1)[-1]}\n",
        f"{TEXT}\n{PETER_SIGNED}Unexpected line.\n",
        f"{TEXT}\n— PeterNeumann\n",
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\n— PeterNeumann not*base64\n",
        f"{TEXT}\n{PETER_SIGNED * 101}",
        f"{TEXT}{PETER_SIGNED}",
    ],
)
def test_malformed_notes_are_refused(note: str) -> None:
    with pytest.raises(MalformedProof):
        Note.parse(note.encode())


def test_a_note_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(MalformedProof):
        Note.parse(b"\xff" + NOTE.encode())


def test_a_wrong_signature_of_a_known_key_is_no_signature_at_all() -> None:
    peter, enoch = VerifierKey.parse(PETER), VerifierKey.parse(ENOCH)
    forged = Note.parse(NOTE.replace("answer", "Answer").encode())

    with pytest.raises(NotProven, match="is not valid"):
        forged.verified([peter])
    with pytest.raises(NotProven, match="is not valid"):
        Note.parse(f"{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED[:60]}ABCD{ENOCH_SIGNED[60:]}".encode()).verified(
            [peter, enoch]
        )
    with pytest.raises(NotProven, match="None of the given keys"):
        Note.parse(NOTE.encode()).verified([LOG.verifier])
    with pytest.raises(NotProven, match="None of the given keys"):
        Note.parse(NOTE.encode()).verified([])


@pytest.mark.parametrize("text", ["no line feed", "", "control\x00\n"])
def test_what_can_not_be_a_notes_text_is_not_signed(text: str) -> None:
    with pytest.raises(MalformedProof):
        Note.signed(text, [LOG])


def test_the_published_checkpoint_is_read_and_written_as_it_is() -> None:
    note = Note.parse(COSIGNED.encode())
    checkpoint = Checkpoint.parse(note.text)

    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text == note.text
    assert str(note) == COSIGNED
    assert note.signatures[1].timestamp == 1679315147  # as the message in the specification has it


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        "o\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n\u0663\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n9223372036854775808\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n",
        "o\n1\nCsUY\n",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nx\n",
        "o\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
    ],
)
def test_malformed_checkpoints_are_refused(text: str) -> None:
    with pytest.raises(MalformedProof):
        Checkpoint.parse(text)


def test_a_checkpoint_is_opened_by_the_logs_key() -> None:
    checkpoint = Checkpoint("log.example/orders", 3, leaf_hash(b"x"), ("views 1",))
    note = str(checkpoint.signed([LOG])).encode()

    assert open_checkpoint(note, [LOG.verifier], origin="log.example/orders") == checkpoint
    with pytest.raises(NotProven, match="not of another"):
        open_checkpoint(note, [LOG.verifier], origin="another")
    with pytest.raises(NotProven):
        open_checkpoint(note, [key("log.example/orders", 7).verifier])


def test_while_keys_are_rotated_either_key_opens_a_checkpoint() -> None:
    new = key(LOG.name, 9)
    note = str(Checkpoint(LOG.name, 0, EMPTY_ROOT).signed([LOG, new])).encode()

    assert open_checkpoint(note, [LOG.verifier]) == open_checkpoint(note, [new.verifier])


def test_a_cosignature_says_when_and_does_not_replace_the_logs_signature() -> None:
    checkpoint = Checkpoint(LOG.name, 1, leaf_hash(b"x"))
    signed, cosignature = checkpoint.signed([LOG]), WITNESS.sign(checkpoint.text, 1679315147)
    both = replace(signed, signatures=(*signed.signatures, cosignature))
    keys = [LOG.verifier, WITNESS.verifier]

    assert Note.parse(str(both).encode()).verified(keys) == keys
    assert both.signatures[1].timestamp == 1679315147
    assert VerifierKey.parse(str(WITNESS.verifier)) == WITNESS.verifier
    with pytest.raises(NotProven, match="Only witnesses"):
        open_checkpoint(str(both).encode(), [WITNESS.verifier])
    later = replace(cosignature, value=(1679315148).to_bytes(8, "big") + cosignature.value[8:])
    with pytest.raises(NotProven, match="is not valid"):
        replace(both, signatures=(*signed.signatures, later)).verified(keys)


def test_a_cosignature_beyond_all_time_is_refused() -> None:
    signature = WITNESS.sign("o\n", 2**63)

    assert not WITNESS.verifier.verifies("o\n", signature)
    assert not WITNESS.verifier.verifies("o\n", replace(signature, value=b"short"))


LEAVES = [leaf_hash(b"0"), leaf_hash(b"1")]
SIGNED = str(Checkpoint(LOG.name, 2, node_hash(*LEAVES)).signed([LOG]))


@pytest.mark.parametrize("extra", [None, b"", b"more"])
def test_a_proof_reads_as_it_is_written_and_verifies(extra: bytes | None) -> None:
    proof = LogProof(1, (LEAVES[0],), SIGNED.encode(), extra)

    assert LogProof.parse(str(proof).encode()) == proof
    assert proof.verify(LEAVES[1], [LOG.verifier]).size == 2
    with pytest.raises(NotProven):
        proof.verify(LEAVES[0], [LOG.verifier])
    with pytest.raises(NotProven):
        proof.verify(LEAVES[1], [WITNESS.verifier])


def test_the_form_of_a_proof() -> None:
    lines = str(LogProof(1, (LEAVES[0],), SIGNED.encode(), b"more")).split("\n")

    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra bW9yZQ==", "index 1"]
    assert lines[4:6] == ["", LOG.name]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nindex 0\n",
        "c2sp.org/tlog-proof@v1\nindex 00\n\n",
        "c2sp.org/tlog-proof@v1\nextra bW9yZQ\nindex 0\n\n",
        "c2sp.org/tlog-proof@v1\nextra bW9yZQ==\n\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n",
        "c2sp.org/tlog-proof@v1\n\n",
    ],
)
def test_malformed_proofs_are_refused(text: str) -> None:
    with pytest.raises(MalformedProof):
        LogProof.parse(text.encode())
