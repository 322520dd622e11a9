//! The page over HTTPS: browsers give cameras to pages of other machines only then.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub(in crate::server) enum Identity<'a> {
    /// PEM files: the chain, and its key.
    Files(&'a Path, &'a Path),
    /// One made now, for the address that is listened on and these names; browsers warn about it.
    SelfSigned(IpAddr, &'a [String]),
}

/// What TLS needs to know of `identity`.
pub(in crate::server) fn config(identity: &Identity<'_>) -> io::Result<Arc<ServerConfig>> {
    let (chain, key) = match identity {
        Identity::Files(chain, key) => {
            let chain = CertificateDer::pem_file_iter(chain)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|e| named(chain, e))?;
            (chain, PrivateKeyDer::from_pem_file(key).map_err(|e| named(key, e))?)
        }
        Identity::SelfSigned(ip, ours) => {
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            if !ip.is_unspecified() && !ip.is_loopback() {
                names.push(ip.to_string());
            }
            names.extend(ours.iter().filter(|name| *name != crate::server::quota::ANY).cloned());
            let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
            let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
            (vec![made.cert.der().clone()], key)
        }
    };
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(in crate::server) fn named(file: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::args::Args;
    use crate::server::{Patience, Server};

    /// As many half handshakes as there were places for, when each had one until its time was over.
    const HALF: usize = 64;

    #[tokio::test]
    async fn mend15_the_page_comes_over_tls_while_strangers_say_half() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut args = Args::parse_from(["antiphon", "--listen", "127.0.0.1:0"]).serve;
        args.tls_cert = Some(chain);
        args.tls_key = Some(key);
        let patience = Patience {
            handshake: Duration::from_secs(3600),
            ..Patience::default()
        };
        let server = Server::bind(&args).await.unwrap().patience(patience);
        assert_eq!(server.scheme(), "https");
        let addr = server.local_addr().unwrap();
        let serving = tokio::spawn(server.serve(std::future::pending()));

        let mut strangers = Vec::new();
        for _ in 0..HALF {
            let mut stranger = TcpStream::connect(addr).await.unwrap();
            // The header of a record, and nothing behind it.
            stranger.write_all(b"\x16\x03\x01\x02\x00").await.unwrap();
            strangers.push(stranger);
        }
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A server that closes without close_notify is an error here: what was read stands.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains("Antiphon"),
            "{answer}"
        );
        serving.abort();
    }

    #[test]
    fn an_identity_can_be_made_and_a_missing_file_is_named() {
        assert!(
            config(&Identity::SelfSigned(
                "192.0.2.7".parse().unwrap(),
                &["media.example.org".to_owned()]
            ))
            .is_ok()
        );
        let missing = Path::new("no-such-file.pem");
        let error = config(&Identity::Files(missing, missing)).unwrap_err();
        assert!(error.to_string().contains("no-such-file.pem"), "{error}");
    }
}
