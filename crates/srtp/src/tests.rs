//! Vectors of RFC 3711 and RFC 7714, and the behaviour around them.
