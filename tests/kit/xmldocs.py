"""Small documents as engineering tools write them, and the programs that check and make XML signatures: xmlsec1 and Java.

plant.aml: AutomationML (CAEX 3.0) with byte order mark and CRLF, as .NET tools save it; pump.xml: PLCopen XML with structured text in CDATA;
di.NodeSet2.xml: an OPC UA companion model with comments, an instruction in front, and types that are named in values.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.openssl import run
from kit.pki import NOW, Pki, Signer
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.signedinfo import ENVELOPED, EXCLUSIVE, INCLUSIVE, NAMESPACE, value_as_written

AML = """\ufeff<?xml version="1.0" encoding="utf-8"?>
<CAEXFile SchemaVersion="3.0" FileName="plant.aml" xsi:schemaLocation="http://www.dke.de/CAEX CAEX_ClassModel_V.3.0.xsd"
          xmlns="http://www.dke.de/CAEX" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <SuperiorStandardVersion>AutomationML 2.10</SuperiorStandardVersion>
  <SourceDocumentInformation OriginName="Engineering &amp; Co" OriginID="e7f5" OriginVersion="6.1" LastWritingDateTime="2026-10-01T08:00:00Z" />
  <InstanceHierarchy Name="Brewery">
    <InternalElement Name="Pump P101" ID="8b0f2f4e-37a4-4d6a-9b0e-2a86b7a5c101">
      <Attribute Name="MaxPressure" AttributeDataType="xs:double" Unit="bar"><Value>6.5</Value></Attribute>
      <Attribute Name='Temperature' Unit='\u00b0C'><Value>82</Value></Attribute>
    </InternalElement>
  </InstanceHierarchy>
</CAEXFile>
""".replace("\n", "\r\n")
PLCOPEN = """<?xml version="1.0" encoding="UTF-8"?>
<project xmlns="http://www.plcopen.org/xml/tc6_0201" xmlns:xhtml="http://www.w3.org/1999/xhtml">
  <fileHeader companyName="ACME" productName="PLC Studio" productVersion="4.2" creationDateTime="2026-10-01T08:00:00"/>
  <contentHeader name="Pump control" version="1.7.2"><coordinateInfo><fbd><scaling x="1" y="1"/></fbd></coordinateInfo></contentHeader>
  <types><dataTypes/><pous><pou name="PLC_PRG" pouType="program">
    <body><ST><xhtml:p><![CDATA[IF level < 80 AND NOT stop THEN pump := TRUE; END_IF]]></xhtml:p></ST></body>
  </pou></pous></types>
  <instances><configurations/></instances>
</project>"""
NODESET = """<?xml version="1.0" encoding="utf-8" ?>
<!-- Copyright ACME -->
<?xml-stylesheet type="text/xsl" href="nodes.xsl"?>
<UANodeSet xmlns="http://opcfoundation.org/UA/2011/03/UANodeSet.xsd" xmlns:uax="http://opcfoundation.org/UA/2008/02/Types.xsd"
    xmlns:acme="urn:acme:types" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xml:lang="en">
  <NamespaceUris><Uri>urn:acme:pumps</Uri></NamespaceUris>
  <Models><Model ModelUri="urn:acme:pumps" Version="1.04.0" PublicationDate="2026-10-01T00:00:00Z"/></Models>
  <!-- the pump -->
  <UAObject NodeId="ns=1;i=5001" BrowseName="1:P101"><DisplayName Locale="en">P101&#x20;&lt;pump&gt;</DisplayName></UAObject>
  <UAVariable NodeId="ns=1;i=6001" DataType="i=884">
    <Value><uax:Body xsi:type="acme:Limits"><Low>0</Low><High>6.5</High></uax:Body></Value>
  </UAVariable>
</UANodeSet>
<!-- end -->
"""
FILES = {
    "plant.aml": AML.encode(),
    "pump.xml": PLCOPEN.encode(),
    "di.NodeSet2.xml": NODESET.encode(),
}
TINY = b'<r a="1">x</r>'


def xmlsec1(path: Path, pki: Pki) -> tuple[bool, str]:
    """Its verdict, with a root as the only thing it trusts; keys count in certificates alone. It looks for other files beside this one."""
    anchor = path.parent / f"{pki.root.key_digest[7:15]}.pem"
    anchor.write_text(pki.root.pem)
    time = f"{NOW:%Y-%m-%d %H:%M:%S}"
    return run(
        [
            "xmlsec1",
            "--verify",
            "--enabled-key-data",
            "x509",
            "--trusted-pem",
            anchor,
            "--verification-time",
            time,
            path,
        ],
        path.parent,
    )


def signed_by_xmlsec1(document: bytes, signer: Signer, out: Path, *, template: bytes | None = None) -> Path:
    """What xmlsec1 makes of a document. template: an element Signature, which becomes the last child of the root."""
    at = document.rindex(b"</")
    return filled_by_xmlsec1(document[:at] + (template or template_for(signer)) + document[at:], signer, out)


def filled_by_xmlsec1(document: bytes, signer: Signer, out: Path) -> Path:
    """What xmlsec1 makes of a document with a template in it, or that is one."""
    key, certificate, plain = (out.with_name(f"{out.stem}.{name}") for name in ("key", "pem", "template"))
    private = signer.key._private
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
    certificate.write_text(signer.pem)
    plain.write_bytes(document)
    above = out.with_name(f"{out.stem}.above")
    above.write_bytes(b"".join(x509.load_der_x509_certificate(one).public_bytes(Encoding.PEM) for one in signer.chain))
    done, words = run(
        ["xmlsec1", "--sign", "--privkey-pem", f"{key},{certificate},{above}", "--output", out, plain], out.parent
    )
    assert done, words
    return out


def java(*words: str | Path) -> tuple[bool, str]:
    """Java's own implementation, of which Apache Santuario is the other name."""
    return run(["java", "-XX:TieredStopAtLevel=1", Path(__file__).parent / "XmlSignatures.java", *words])


def java_accepts(signer: Signer, paths: Sequence[Path]) -> dict[str, bool]:
    """For each file whether its signature holds by the signer's key; paths are not looked at."""
    certificate = paths[0].with_name("signer.pem")
    certificate.write_text(signer.pem)
    done, words = java("verify", certificate, *paths)
    assert done, words
    return {line.split()[0]: line.split()[1] == "true" for line in words.splitlines()}


def signed_by_java(document: Path, signer: Signer, out: Path, form: str, how: str = "sign") -> Path:
    """What Java makes of a document, in one canonical form for all; or, to `detach`, of a file of any kind."""
    key, certificate = out.with_name(f"{out.stem}.der"), out.with_name(f"{out.stem}.pem")
    private = signer.key._private
    key.write_bytes(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))  # type: ignore[union-attr]
    certificate.write_text(signer.pem)
    done, words = java(how, key, certificate, method_of(signer), form, document, out)
    assert done, words
    return out


def method_of(signer: Signer) -> str:
    """The URI of the signature algorithm of its key, with SHA-256."""
    names = {"ecdsa": "ecdsa-sha256", "rsa-pkcs1": "rsa-sha256"}
    return f"http://www.w3.org/2001/04/xmldsig-more#{names[signer.key.info.algorithm.scheme]}"


def template_for(
    signer: Signer,
    *,
    info: str = INCLUSIVE,
    content: str | None = EXCLUSIVE,
    digest: str = "http://www.w3.org/2001/04/xmlenc#sha256",
    prefix: str = "",
    reference: str = "",
) -> bytes:
    """A Signature to be filled in. info, content: the canonical forms; reference: its URI."""
    p, declared = (f"{prefix}:", f"xmlns:{prefix}") if prefix else ("", "xmlns")
    forms = "".join(f'<{p}Transform Algorithm="{one}"/>' for one in (ENVELOPED, content) if one)
    return f"""<{p}Signature {declared}="{NAMESPACE}">
  <{p}SignedInfo>
    <{p}CanonicalizationMethod Algorithm="{info}"/>
    <{p}SignatureMethod Algorithm="{method_of(signer)}"/>
    <{p}Reference URI="{reference}">
      <{p}Transforms>{forms}</{p}Transforms>
      <{p}DigestMethod Algorithm="{digest}"/>
      <{p}DigestValue></{p}DigestValue>
    </{p}Reference>
  </{p}SignedInfo>
  <{p}SignatureValue/>
  <{p}KeyInfo><{p}X509Data/></{p}KeyInfo>
</{p}Signature>
""".encode()


def template_beside(signer: Signer, uri: str, **how: str) -> bytes:
    """The same for a file, as it is. how: as above."""
    return re.sub(rb"<\S*Transforms>.*Transforms>\s*", b"", template_for(signer, reference=uri, **how))


def resigned(data: bytes, signer: Signer, change: Callable[[bytes], bytes]) -> bytes:
    """A signed document with another SignedInfo that its signer signed as well. change: keeps it in canonical form."""
    start, end = data.index(b"<SignedInfo"), data.index(b"</SignedInfo>") + len(b"</SignedInfo>")
    info = change(data[start:end])
    value = signer.key.sign([to_be_signed(info, signer.key.info.algorithm)])[0]
    written = base64.b64encode(value_as_written(value, signer.key.info.public_key))
    tail = data.index(b"<SignatureValue>")
    return data[:start] + info + b"<SignatureValue>" + written + data[data.index(b"</SignatureValue>", tail) :]
