"""Keys in a TPM 2.0: `tpm:PATH`, PATH being a TSS2 PEM file that only the TPM which made it can load.

    PATH         BEGIN TSS2 PRIVATE KEY: public area and the private part wrapped by the TPM
    PATH.auth    32 random octets as hex, mode 0600: the key's authorisation (the key takes no part in dictionary attacks)
    PATH.pcr     "sha256:16", only for a key bound to platform registers: after one is extended it does not sign
    PATH.audit   only where the TPM audits: the journal into which each use of the key is written (`tpmaudit`)

Reached through tpm2-pytss, an extra that is imported only here. One process uses one context from one thread; every handle
is flushed, because without a resource manager a TPM has three. The TCTI is `TPM2TOOLS_TCTI`, else /dev/tpmrm0.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key

from sealwright.artifact.output import Output, write_batch
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.envelope.algorithms import PublicKey, SignatureAlgorithm, algorithm_for
from sealwright.envelope.tobesigned import ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable
from sealwright.keys.attestation import Attestation
from sealwright.keys.auditjournal import AuditJournal, Turn, journal_of
from sealwright.keys.auditlines import KeyLine
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.file import PrivateKey
from sealwright.keys.key import KeyInfo, KeyKind, Provenance
from sealwright.keys.tpmaudit import attest, attest_what_is_open, begin, written_use
from sealwright.keys.uri import path_of

T = TypeVar("T")
DEFAULT_TCTI = "device:/dev/tpmrm0"
MAX_KEY_BYTES = 16 * 1024
AUTH_OCTETS = 32
_TEMPLATES = {
    KeyKind.P256: "ecc256:ecdsa-sha256",
    KeyKind.P384: "ecc384:ecdsa-sha384",
    KeyKind.RSA3072: "rsa3072:rsassa-sha256",
}
_PCRS = re.compile(r"(sha1|sha256|sha384|sha512):[0-9]{1,2}(,[0-9]{1,2})*")
_WORDS = {
    0x143: "it has no such command",
    0x1DF: "this TPM did not make the key",
    0x921: "the TPM is locked after wrong authorisations",
    0x98E: "the TPM refused the key's authorisation",
    0x9A2: "the TPM refused the key's authorisation",
    0x99D: "the platform registers are not what the key is bound to",
    0x902: "the TPM has no free slot; use a resource manager (/dev/tpmrm0)",
    0x903: "the TPM has no free session; use a resource manager (/dev/tpmrm0)",
}


class TpmKey:
    """A key loaded into the TPM. Not for another thread, nor for a forked child."""

    def __init__(self, tpm: Tpm, loaded: Loaded, info: KeyInfo, pcrs: str, journal: AuditJournal | None) -> None:
        self.info = info
        self._tpm: Tpm | None = tpm
        self._handle = loaded.handle
        self._name = KeyLine(loaded.public).name
        self._public = loaded.public
        self._pcrs = pcrs
        self._journal = journal
        self._check = SignatureCheck(info)
        self._process = os.getpid()

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        tpm = self._tpm
        if tpm is None or os.getpid() != self._process:
            raise KeyUnavailable(self.info.uri, "it was closed, or opened before this process forked", "Open it again.")
        self._check.before(batch)
        values = []
        with nullcontext() if self._journal is None else self._journal.turn() as turn:
            for one in batch:
                made = self._made(tpm, one.data, turn)
                self._check.after(one, made.value)
                values.append(made.value)
            if turn is not None:
                turn.sync()
        return values

    def _made(self, tpm: Tpm, digest: bytes, turn: Turn | None) -> Made:
        make = partial(tpm.sign, self._handle, digest, self._pcrs, self.info.uri)
        return make() if turn is None else written_use(turn, self._name, digest, make)

    def begin_audit(self, journal: AuditJournal) -> None:
        """Have the TPM audit what it signs, and this key's uses written into the journal from its next opening on."""
        begin(self._connected(), journal, self._public, self.info.uri)

    def attest_audit(self, nonce: bytes) -> AuditJournal:
        """Have the TPM attest all uses up to now over the nonce; the journal, in which that is. KeyRefused where none are written down."""
        tpm = self._connected()
        if self._journal is None:
            raise KeyRefused(
                self.info.uri,
                "its uses are not written down",
                "Begin: sealwright key begin-audit KEY --journal FILE",
            )
        with self._journal.turn() as turn:
            turn.last()
            attest(tpm, turn, self.info.uri, nonce)
        return self._journal

    def certify(self, nonce: bytes) -> Attestation:
        """The TPM's own statement about this key, signed by its attestation key over the nonce."""
        return self._connected().certify(self._handle, nonce, self.info.uri)

    def _connected(self) -> Tpm:
        if self._tpm is None:
            raise KeyUnavailable(self.info.uri, "it was closed", "Open it again.")
        return self._tpm

    def close(self) -> None:
        """Flush the key and close the context, after the TPM attested what was used. Closing twice is fine."""
        tpm, self._tpm = self._tpm, None
        if tpm is not None and os.getpid() == self._process:
            if self._journal is not None:
                with suppress(KeyUnavailable):  # the TPM is gone: the next one who opens a key has it attested
                    attest_what_is_open(tpm, self._journal, self.info.uri)
            tpm.flush(self._handle)
            tpm.close()


def create_tpm_key(path: str, kind: KeyKind, pcrs: str = "") -> KeyInfo:
    """Make a key in the TPM. pcrs: registers it is bound to, like "sha256:0,7"; its files must not exist."""
    if kind not in _TEMPLATES:
        raise KeyRefused(f"tpm:{path}", f"a TPM has no {kind} keys", "Choose p256, p384 or rsa3072.")
    if pcrs and not _PCRS.fullmatch(pcrs):
        raise KeyRefused(f"tpm:{path}", f"{pcrs!r} names no platform registers", "Write them like sha256:0,7.")
    auth = secrets.token_bytes(AUTH_OCTETS)
    tpm = Tpm(f"tpm:{path}")
    try:
        pem = tpm.create(_TEMPLATES[kind], auth, pcrs, f"tpm:{path}")
    finally:
        tpm.close()
    outputs = [Output(path + ".auth", auth.hex().encode() + b"\n", 0o600)]
    if pcrs:
        outputs.append(Output(path + ".pcr", pcrs.encode() + b"\n"))
    write_batch([*outputs, Output(path, pem, 0o600)])
    key = open_tpm_key(f"tpm:{path}", kind.algorithm)
    key.close()
    return key.info


def import_tpm_key(path: str, private: PrivateKey) -> KeyInfo:
    """Take a key that was made elsewhere into the TPM, which wraps it for itself alone (TPM2_Import); its files must not exist.

    It has no fixedTPM and no sensitiveDataOrigin: the TPM says by them that the key once lived outside. Without a policy for
    duplication it cannot leave again.
    """
    uri = f"tpm:{path}"
    scheme = _scheme_of(uri, private)
    auth = secrets.token_bytes(AUTH_OCTETS)
    tpm = Tpm(uri)
    try:
        pem = tpm.take(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), scheme, auth, uri)
    finally:
        tpm.close()
    write_batch([Output(path + ".auth", auth.hex().encode() + b"\n", 0o600), Output(path, pem, 0o600)])
    key = open_tpm_key(uri)
    key.close()
    return key.info


def _scheme_of(uri: str, private: PrivateKey) -> str:
    """The template of the key's kind; KeyRefused for a kind that a TPM has not."""
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in ("secp256r1", "secp384r1"):
        return "ecdsa-sha256" if private.curve.name == "secp256r1" else "ecdsa-sha384"
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size in (2048, 3072):
        return "rsassa-sha256"
    raise KeyRefused(uri, "a TPM takes no keys of this kind", "It takes P-256, P-384, and RSA of 2048 or 3072 bits.")


def open_tpm_key(uri: str, algorithm: SignatureAlgorithm | None = None) -> TpmKey:
    """Load a key; KeyUnavailable if the TPM or the key is not there, KeyRefused if it is not enrolled for the algorithm."""
    path = path_of(uri)
    pem = read_file(path, MAX_KEY_BYTES)
    auth_text = read_file(path + ".auth", 1024)
    if os.name == "posix" and os.stat(path + ".auth").st_mode & 0o077:
        raise KeyRefused(uri, "other users can read the key's authorisation", f"Run: chmod 600 {path}.auth")
    pcrs = (read_file_or_none(path + ".pcr", 1024) or b"").decode("ascii", "replace").strip()
    try:
        auth = bytes.fromhex(auth_text.decode("ascii").strip())
    except ValueError as cause:
        raise KeyUnavailable(
            uri, "the authorisation beside it is damaged", "Restore the file .auth from a backup."
        ) from cause
    journal = journal_of(path)
    tpm = Tpm(uri)
    loaded = None
    try:
        loaded = tpm.load(pem, auth, uri)
        key = cast("PublicKey", load_pem_public_key(loaded.pem))
        own = algorithm_for(key, subject=uri)
        if algorithm is not None and own != algorithm:
            raise KeyRefused(
                uri, f"it signs {own.name}, not {algorithm.name}", "Name the key that is enrolled for this."
            )
        attributes: tuple[tuple[str, str], ...] = (("bound to", pcrs),) if pcrs else ()
        attributes += (("imported", "true"),) if loaded.imported else ()
        attributes += (("uses written to", journal.path),) if journal else ()
        provenance = Provenance.HARDWARE_IMPORTED if loaded.imported else Provenance.HARDWARE_CLAIMED
        info = KeyInfo(uri, key, own, provenance, f"TPM key {path}", attributes)
        if journal is not None:
            attest_what_is_open(tpm, journal, uri)
        return TpmKey(tpm, loaded, info, pcrs, journal)
    except BaseException:
        if loaded is not None:
            tpm.flush(loaded.handle)  # without a resource manager a slot would be lost until the TPM is reset
        tpm.close()
        raise


class Loaded(NamedTuple):
    """A key in the TPM. public: TPMT_PUBLIC as marshalled; pem: its public key; imported: whether it was made outside of this TPM."""

    handle: Any
    public: bytes
    pem: bytes
    imported: bool


class Made(NamedTuple):
    """A signature. value: in the encoding of CMS; marshalled: TPMT_SIGNATURE."""

    value: bytes
    marshalled: bytes


class Tpm:
    """One connection to a TPM."""

    def __init__(self, uri: str) -> None:
        os.environ.setdefault("TSS2_LOG", "all+none")  # the library writes to standard error otherwise
        try:
            import tpm2_pytss
            import tpm2_pytss.tsskey
            import tpm2_pytss.utils
        except ImportError as cause:
            raise KeyUnavailable(
                uri, "TPM support is not installed", "Install libtss2-dev and gcc, then: pip install sealwright[tpm]"
            ) from cause
        self.api: Any = tpm2_pytss
        tcti = os.environ.get("TPM2TOOLS_TCTI", DEFAULT_TCTI)
        try:
            self.context: Any = tpm2_pytss.ESAPI(tcti)
        except (tpm2_pytss.TSS2_Exception, RuntimeError, OSError) as cause:
            raise KeyUnavailable(
                uri, f"no TPM answers at {tcti}", "Check the TPM, the group tss and TPM2TOOLS_TCTI."
            ) from cause

    def create(self, template: str, auth: bytes, pcrs: str, uri: str) -> bytes:
        """A TSS2 PEM file of a fresh signing key under the owner's primary key."""
        api = self.api
        wanted = api.TPMA_OBJECT
        attributes = (
            wanted.FIXEDTPM | wanted.FIXEDPARENT | wanted.SENSITIVEDATAORIGIN | wanted.SIGN_ENCRYPT | wanted.NODA
        )

        def make() -> bytes:
            policy = self._policy_digest(pcrs) if pcrs else b""
            flags = attributes if pcrs else attributes | wanted.USERWITHAUTH
            public = api.TPM2B_PUBLIC.parse(template, objectAttributes=flags, authPolicy=policy)
            made = api.tsskey.TSSPrivKey.create(self.context, public.publicArea, password=auth)
            return bytes(made.to_pem())

        return self.do(make, uri)

    def take(self, pem: bytes, scheme: str, auth: bytes, uri: str) -> bytes:
        """A TSS2 PEM file of a key that was made elsewhere, wrapped to the owner's primary key and imported under it."""
        api = self.api
        wanted = api.TPMA_OBJECT
        kind = api.TPMT_ASYM_SCHEME(scheme=api.TPM2_ALG.ECDSA if scheme.startswith("ecdsa") else api.TPM2_ALG.RSASSA)
        kind.details.anySig.hashAlg = api.TPM2_ALG.SHA384 if scheme.endswith("384") else api.TPM2_ALG.SHA256

        def make() -> bytes:
            public = api.TPM2B_PUBLIC.from_pem(
                pem, objectAttributes=wanted.USERWITHAUTH | wanted.SIGN_ENCRYPT | wanted.NODA, scheme=kind
            )
            sensitive = api.TPM2B_SENSITIVE.from_pem(pem)
            sensitive.sensitiveArea.authValue = auth
            saved = api.tsskey.TSSPrivKey
            parent = saved._getparent(self.context, public.publicArea.type, api.TPM2_RH.OWNER)  # as `load` makes it
            with parent:
                above, _, _ = self.context.read_public(parent)
                encryption, duplicate, seed = api.utils.wrap(above.publicArea, public, sensitive)
                none = api.TPMT_SYM_DEF_OBJECT(algorithm=api.TPM2_ALG.NULL)
                private = self.context.import_(parent, encryption, public, duplicate, seed, none)
            return bytes(saved(private, public, False, api.TPM2_RH.OWNER).to_pem())

        return self.do(make, uri)

    def load(self, pem: bytes, auth: bytes, uri: str) -> Loaded:
        """Load a key; whoever asks flushes its handle."""
        try:
            key = self.api.tsskey.TSSPrivKey.from_pem(pem)
        except (ValueError, TypeError, RuntimeError, self.api.TSS2_Exception) as cause:
            raise KeyUnavailable(uri, "it is not a TSS2 key in PEM", "Restore the file from a backup.") from cause
        handle = self.do(lambda: key.load(self.context, auth), uri)
        inside = self.api.TPMA_OBJECT.FIXEDTPM | self.api.TPMA_OBJECT.SENSITIVEDATAORIGIN
        area = key.public.publicArea
        imported = int(area.objectAttributes) & int(inside) != int(inside)
        return Loaded(handle, area.marshal(), bytes(area.to_pem()), imported)

    def sign(self, handle: Any, digest: bytes, pcrs: str, uri: str) -> Made:
        """One signature over a digest."""
        api = self.api
        ticket = api.TPMT_TK_HASHCHECK(tag=api.TPM2_ST.HASHCHECK, hierarchy=api.TPM2_RH.NULL)
        scheme = api.TPMT_SIG_SCHEME(scheme=api.TPM2_ALG.NULL)

        def make() -> Any:
            if not pcrs:
                return self.context.sign(handle, digest, scheme, ticket, session1=api.ESYS_TR.PASSWORD)
            session = self._policy_session(pcrs, api.TPM2_SE.POLICY)
            try:
                return self.context.sign(handle, digest, scheme, ticket, session1=session)
            finally:
                self.flush(session)

        made = self.do(make, uri)
        return Made(self.value(made), made.marshal())

    def certify(self, handle: Any, nonce: bytes, uri: str) -> Attestation:
        """TPM2_Certify by a restricted attestation key of the endorsement hierarchy."""

        def make() -> Attestation:
            none = self.api.TPMT_SIG_SCHEME(scheme=self.api.TPM2_ALG.NULL)
            with self.attestation_key() as (signer, public):
                attest, signature = self.context.certify(handle, signer, nonce, none)
                own, _, _ = self.context.read_public(handle)
            return Attestation(nonce, own.publicArea.marshal(), bytes(attest), self.value(signature), public)

        return self.do(make, uri)

    @contextmanager
    def attestation_key(self) -> Iterator[tuple[Any, bytes]]:
        """The restricted key of the endorsement hierarchy that vouches for this TPM, always the same: handle and TPMT_PUBLIC."""
        api = self.api
        wanted = api.TPMA_OBJECT
        flags = (
            wanted.FIXEDTPM | wanted.FIXEDPARENT | wanted.SENSITIVEDATAORIGIN | wanted.USERWITHAUTH
            | wanted.RESTRICTED | wanted.SIGN_ENCRYPT | wanted.NODA
        )  # fmt: skip
        template = api.TPM2B_PUBLIC.parse("ecc256:ecdsa-sha256:null", objectAttributes=flags)
        signer, public, *_ = self.context.create_primary(None, template, primary_handle=api.ESYS_TR.ENDORSEMENT)
        try:
            yield signer, public.publicArea.marshal()
        finally:
            self.flush(signer)

    def flush(self, handle: Any) -> None:
        """Give a slot back."""
        with suppress(self.api.TSS2_Exception, RuntimeError):
            self.context.flush_context(handle)

    def close(self) -> None:
        """End the connection. Closing twice is fine."""
        context, self.context = self.context, None
        if context is not None:
            context.close()

    def _policy_session(self, pcrs: str, kind: Any) -> Any:
        api = self.api
        symmetric = api.TPMT_SYM_DEF(algorithm=api.TPM2_ALG.NULL)
        session = self.context.start_auth_session(
            api.ESYS_TR.NONE, api.ESYS_TR.NONE, kind, symmetric, api.TPM2_ALG.SHA256
        )
        self.context.policy_pcr(session, api.TPM2B_DIGEST(), api.TPML_PCR_SELECTION.parse(pcrs))
        return session

    def _policy_digest(self, pcrs: str) -> bytes:
        session = self._policy_session(pcrs, self.api.TPM2_SE.TRIAL)
        try:
            return bytes(self.context.policy_get_digest(session))
        finally:
            self.flush(session)

    def value(self, signature: Any) -> bytes:
        """A TPMT_SIGNATURE in the encoding of CMS."""
        if signature.sigAlg == self.api.TPM2_ALG.ECDSA:
            parts = signature.signature.ecdsa
            return encode_dss_signature(
                int.from_bytes(bytes(parts.signatureR), "big"), int.from_bytes(bytes(parts.signatureS), "big")
            )
        return bytes(signature.signature.rsassa.sig)

    def do(self, what: Callable[[], T], uri: str) -> T:
        """One or several commands; KeyUnavailable saying what the TPM answered."""
        try:
            return what()
        except self.api.TSS2_Exception as cause:
            code = int(cause.rc)
            said = _WORDS.get(code) or _WORDS.get(code & 0xFFF) or f"the TPM answered 0x{code:x}"
            raise KeyUnavailable(
                uri, said, "Nothing was signed; check the TPM with its own tools before trying again."
            ) from cause
        except (RuntimeError, ValueError, TypeError) as cause:
            raise KeyUnavailable(
                uri, f"the TPM library failed ({type(cause).__name__})", "Check the TPM with its own tools."
            ) from cause
