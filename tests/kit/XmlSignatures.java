import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.List;
import javax.xml.crypto.OctetStreamData;
import javax.xml.crypto.URIDereferencer;
import javax.xml.crypto.URIReferenceException;
import javax.xml.crypto.dsig.Reference;
import javax.xml.crypto.dsig.SignedInfo;
import javax.xml.crypto.dsig.Transform;
import javax.xml.crypto.dsig.XMLSignature;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMSignContext;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.crypto.dsig.keyinfo.KeyInfo;
import javax.xml.crypto.dsig.keyinfo.KeyInfoFactory;
import javax.xml.crypto.dsig.spec.C14NMethodParameterSpec;
import javax.xml.crypto.dsig.spec.TransformParameterSpec;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.w3c.dom.Document;
import org.w3c.dom.NodeList;

/**
 * Java's own XML signatures: `verify CERT FILE...` says for each whether it holds by that key; `sign KEY CERT ALGORITHM C14N IN OUT`;
 * `detach` likewise, of a file of any kind. What a signature refers to is looked for in its own folder.
 */
class XmlSignatures {
    public static void main(String[] words) throws Exception {
        X509Certificate certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(words[words[0].equals("verify") ? 1 : 2]))));
        if (!words[0].equals("verify")) {
            sign(words, certificate);
            return;
        }
        for (int at = 2; at < words.length; at++) {
            System.out.println(Path.of(words[at]).getFileName() + " " + verify(words[at], certificate));
        }
    }

    private static Document read(String path) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        return factory.newDocumentBuilder().parse(Path.of(path).toFile());
    }

    private static boolean verify(String path, X509Certificate certificate) {
        try {
            NodeList found = read(path).getElementsByTagNameNS(XMLSignature.XMLNS, "Signature");
            DOMValidateContext context = new DOMValidateContext(certificate.getPublicKey(), found.item(0));
            context.setProperty("org.jcp.xml.dsig.secureValidation", true);
            context.setURIDereferencer(beside(path));
            return found.getLength() == 1
                && XMLSignatureFactory.getInstance("DOM").unmarshalXMLSignature(context).validate(context);
        } catch (Exception cause) {
            return false;
        }
    }

    private static URIDereferencer beside(String path) {
        URIDereferencer usual = XMLSignatureFactory.getInstance("DOM").getURIDereferencer();
        return (reference, context) -> {
            if (reference.getURI().isEmpty()) {
                return usual.dereference(reference, context);
            }
            try {
                return new OctetStreamData(
                    Files.newInputStream(Path.of(path).resolveSibling(URI.create(reference.getURI()).getPath())));
            } catch (IOException cause) {
                throw new URIReferenceException(cause);
            }
        };
    }

    private static void sign(String[] words, X509Certificate certificate) throws Exception {
        PrivateKey key = KeyFactory.getInstance(certificate.getPublicKey().getAlgorithm())
            .generatePrivate(new PKCS8EncodedKeySpec(Files.readAllBytes(Path.of(words[1]))));
        XMLSignatureFactory factory = XMLSignatureFactory.getInstance("DOM");
        boolean detached = words[0].equals("detach");
        String uri = detached ? new URI(null, null, Path.of(words[5]).getFileName().toString(), null).toString() : "";
        Reference reference = factory.newReference(uri, factory.newDigestMethod("http://www.w3.org/2001/04/xmlenc#sha256", null),
            detached ? null : List.of(factory.newTransform(Transform.ENVELOPED, (TransformParameterSpec) null),
                factory.newTransform(words[4], (TransformParameterSpec) null)), null, null);
        SignedInfo info = factory.newSignedInfo(
            factory.newCanonicalizationMethod(words[4], (C14NMethodParameterSpec) null),
            factory.newSignatureMethod(words[3], null), List.of(reference));
        KeyInfoFactory keys = factory.getKeyInfoFactory();
        KeyInfo keyInfo = keys.newKeyInfo(List.of(keys.newX509Data(List.of(certificate))));
        Document document = detached ? DocumentBuilderFactory.newInstance().newDocumentBuilder().newDocument() : read(words[5]);
        DOMSignContext context = new DOMSignContext(key, detached ? document : document.getDocumentElement());
        context.setURIDereferencer(beside(words[5]));
        factory.newXMLSignature(info, keyInfo).sign(context);
        TransformerFactory.newInstance().newTransformer()
            .transform(new DOMSource(document), new StreamResult(Path.of(words[6]).toFile()));
    }
}
