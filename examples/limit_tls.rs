//! Opens many TLS sessions with a client certificate, for the comparison of logins. Each sends a
//! greeting and waits for the answer. All sessions then stay open until the program is killed.
//!
//! ```text
//! limit_tls ADDR SESSIONS AUTHORITY.pem CERTIFICATE.pem KEY.pem GREETING_HEX ANSWER_BYTES
//! ```
//!
//! Prints `up RATE` when all sessions are up: set-ups per second, by threads that each wait for
//! one.
#![allow(clippy::print_stdout, reason = "an example")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Sessions that are set up at once.
const THREADS: usize = 16;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [addr, sessions, authority, certificate, key, greeting, answer] = &args[..] else {
        panic!("limit_tls ADDR SESSIONS AUTHORITY.pem CERTIFICATE.pem KEY.pem GREETING_HEX ANSWER_BYTES");
    };
    let certificate_of = |path: &str| CertificateDer::from_pem_file(Path::new(path)).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate_of(authority)).expect("a certificate of an authority");
    let key = PrivateKeyDer::from_pem_file(Path::new(key)).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate_of(certificate)], key)
        .expect("the key of the certificate");
    let config = Arc::new(config);
    let sessions: usize = sessions.parse().expect("a number");
    let answer: usize = answer.parse().expect("a number");
    let hex = |at: usize| u8::from_str_radix(&greeting[at..at + 2], 16).expect("hex digits");
    let greeting: Vec<u8> = (0..greeting.len()).step_by(2).map(hex).collect();
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let session = || {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(config.clone(), name).expect("a session");
        let mut stream = StreamOwned::new(connection, TcpStream::connect(addr).expect("it listens"));
        stream.write_all(&greeting).expect("the greeting");
        stream.read_exact(&mut vec![0; answer]).expect("the answer");
        stream
    };
    let kept: Vec<_> = std::thread::scope(|scope| {
        let work = || {
            let mut kept = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < sessions {
                kept.push(session());
            }
            kept
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("all sessions come up")).collect()
    });
    println!("up {:.1}", kept.len() as f64 / begun.elapsed().as_secs_f64());
    loop {
        std::thread::park();
    }
}
