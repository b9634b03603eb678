"""What the tests share: a PKI factory, tokens, trust files, real verifiers."""
