//! Through TURN servers: ours through coturn, and browsers through ours.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::live::{Cells, SCRIPT_PATIENCE, START_PATIENCE, Server, Table, antiphon, node, take_cells};
use crate::report::Report;
use crate::setup::{Peers, apt, peers};
use crate::shell::{Service, log_file, run, run_within, tail, work_dir};

const USER: &str = "antiphon";
const PASSWORD: &str = "only-on-loopback";

/// What must be there, by the transport between the client and its TURN server.
const COTURN: Table = Table {
    title: "we relay through coturn, over",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
        ("aiortc", "offers"),
        ("aiortc", "answers"),
    ],
    columns: &["UDP", "TCP", "TLS"],
};

/// Browsers with iceTransportPolicy "relay" whose TURN server is ours.
const OURS: Table = Table {
    title: "browsers relay through our TURN server, over",
    rows: &[
        ("chromium", "offers"),
        ("chromium", "answers"),
        ("firefox", "offers"),
        ("firefox", "answers"),
    ],
    columns: &["UDP", "TCP", "TLS"],
};

/// Runs it all and prints the tables.
pub(crate) fn run_all(report: &mut Report) {
    println!("relays");
    let (peers, coturn) = match peers().and_then(|peers| Ok((peers, Coturn::start()?))) {
        Ok(both) => both,
        Err(why) => return report.fail("set up the relays", &why),
    };
    let mut cells = Cells::new();
    if let Err(why) = through_coturn(report, &peers, &coturn, &mut cells) {
        report.fail("relay through coturn", &why);
    }
    COTURN.finish(report, &cells, true);
    let mut cells = Cells::new();
    if let Err(why) = browsers_through_ours(report, &peers, &coturn.identity, &mut cells) {
        report.fail("relay through our server", &why);
    }
    OURS.finish(report, &cells, true);
}

/// `antiphon turn` between browsers and `antiphon serve`.
fn browsers_through_ours(
    report: &mut Report,
    peers: &Peers,
    identity: &Identity,
    cells: &mut Cells,
) -> Result<(), String> {
    // Firefox has no use for relays or servers on loopback, and a machine's own address may be one that the server never relays
    // to: so all of it happens in a namespace with a private address.
    let namespace = Namespace::make("relay")?;
    let (certificate, key) = (
        identity.certificate.display().to_string(),
        identity.key.display().to_string(),
    );
    let user = format!("{USER}:{PASSWORD}");
    let listen = format!("{INSIDE}:0");
    let mut turn = antiphon()?;
    turn.args([
        "turn",
        "--listen",
        &listen,
        "--tls-listen",
        &listen,
        "--realm",
        "antiphon.test",
    ])
    .args(["--user", &user, "--tls-cert", &certificate, "--tls-key", &key])
    .args(["--relay-ip", INSIDE, "--allow-private-peers"]);
    let mut command = namespace.inside(&turn);
    let (say, said) = mpsc::channel();
    let _turn = Service::start("antiphon turn", &mut command, move |line| {
        let _ = say.send(line.to_owned());
    })?;
    let mut addresses = BTreeMap::new();
    loop {
        let line = said
            .recv_timeout(START_PATIENCE)
            .map_err(|_| "antiphon turn did not say its addresses")?;
        match line.split_once(' ') {
            Some((transport, address)) => _ = addresses.insert(transport.to_owned(), address.to_owned()),
            None if line == "ready" => break,
            None => {}
        }
    }
    let mut serve = antiphon()?;
    serve.args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::of("antiphon serve in a namespace", &mut namespace.inside(&serve))?;
    let mut cases = Vec::new();
    for (label, scheme, transport) in [("UDP", "turn", "udp"), ("TCP", "turn", "tcp"), ("TLS", "turns", "tcp")] {
        let address = addresses
            .get(&label.to_lowercase())
            .ok_or_else(|| format!("no address for {label} in {addresses:?}"))?;
        // Firefox verifies the certificate of a TURN server that has a name; one that has an address alone it does not reach.
        let address = match scheme {
            "turns" => address.replace(INSIDE, NAME),
            _ => address.clone(),
        };
        let ice_server = json!({
            "urls": [format!("{scheme}:{address}?transport={transport}")],
            "username": USER,
            "credential": PASSWORD,
        });
        let configuration = json!({ "iceServers": [ice_server], "iceTransportPolicy": "relay" });
        cases.push(json!({ "label": label, "url": server.url, "configuration": configuration }));
    }
    for browser in ["chromium", "firefox"] {
        let list = json!(cases).to_string();
        let what = format!("{browser} relays through our server");
        let authority = identity.authority.display().to_string();
        let mut script = namespace.inside(&node(peers, "relay.mjs", &[browser, &list, &authority]));
        let output = run_within(SCRIPT_PATIENCE, &what, &mut script)?;
        take_cells(report, &what, &output, cells);
    }
    Ok(())
}

/// Our side relays: `antiphon serve --relay-only`, one for each way to the TURN server.
fn through_coturn(report: &mut Report, peers: &Peers, coturn: &Coturn, cells: &mut Cells) -> Result<(), String> {
    let (port, tls_port) = (coturn.port, coturn.tls_port);
    let ways = [
        ("UDP", format!("turn:127.0.0.1:{port}?transport=udp")),
        ("TCP", format!("turn:127.0.0.1:{port}?transport=tcp")),
        ("TLS", format!("turns:127.0.0.1:{tls_port}?transport=tcp")),
    ];
    let authority = coturn.identity.authority.display().to_string();
    let mut servers = Vec::new();
    for (label, url) in &ways {
        let flags = [
            "--relay-only",
            "--ice-server",
            url,
            "--ice-username",
            USER,
            "--ice-password",
            PASSWORD,
            "--ice-ca",
            &authority,
        ];
        servers.push((label, Server::start(&format!("relayed over {label}"), &flags)?));
    }
    let list = servers
        .iter()
        .map(|(label, server)| json!({ "label": label, "url": server.url, "ours": true }));
    let list = json!(list.collect::<Vec<_>>()).to_string();
    for browser in ["chromium", "firefox"] {
        let what = format!("{browser} to our relayed address");
        let output = run_within(SCRIPT_PATIENCE, &what, &mut node(peers, "relay.mjs", &[browser, &list]))?;
        take_cells(report, &what, &output, cells);
    }
    for (label, server) in &servers {
        let what = format!("aiortc to our relayed address, {label}");
        let mut python = Command::new(&peers.python);
        python
            .arg(peers.node.join("aiortc_peer.py"))
            .args([server.url.as_str(), label]);
        let output = run_within(SCRIPT_PATIENCE, &what, &mut python)?;
        take_cells(report, &what, &output, cells);
    }
    Ok(())
}

/// A certificate authority of our own, and a certificate of it for 127.0.0.1, as PEM files.
pub(crate) struct Identity {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    /// Makes both anew in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self, String> {
        apt(&[("openssl", "openssl")])?;
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let file = |name: &str| folder.join(name);
        fs::write(
            file("names"),
            format!("subjectAltName=IP:127.0.0.1,IP:{INSIDE},DNS:localhost,DNS:{NAME}\nbasicConstraints=CA:FALSE\n"),
        )
        .map_err(|e| e.to_string())?;
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let commands: [&[&str]; 3] = [
            &[
                "req",
                "-x509",
                "-days",
                "30",
                "-subj",
                "/CN=Antiphon test authority",
                "-keyout",
                "authority.key",
                "-out",
                "authority.pem",
            ],
            &[
                "req",
                "-subj",
                "/CN=127.0.0.1",
                "-keyout",
                "server.key",
                "-out",
                "server.csr",
            ],
            &[
                "x509",
                "-req",
                "-days",
                "30",
                "-in",
                "server.csr",
                "-CA",
                "authority.pem",
                "-CAkey",
                "authority.key",
                "-CAcreateserial",
                "-extfile",
                "names",
                "-out",
                "server.pem",
            ],
        ];
        for arguments in commands {
            let mut openssl = Command::new("openssl");
            openssl.args(arguments).current_dir(folder);
            if arguments[0] == "req" {
                openssl.args(key);
            }
            let made = run("openssl certificate", &mut openssl)?;
            if !made.success {
                return Err(tail(&made.text, 10));
            }
        }
        Ok(Self {
            authority: file("authority.pem"),
            certificate: file("server.pem"),
            key: file("server.key"),
        })
    }
}

/// The address in the [`Namespace`].
pub(crate) const INSIDE: &str = "10.77.0.1";

/// Its name there.
const NAME: &str = "turn.antiphon.test";

/// A network namespace with loopback and one private address, which has a name, gone when dropped. Nothing leaves it.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// `what` tells the parts apart that have one.
    pub(crate) fn make(what: &str) -> Result<Self, String> {
        apt(&[("ip", "iproute2"), ("certutil", "libnss3-tools")])?;
        let name = format!("antiphon-{what}-{}", std::process::id());
        ip(&["netns", "add", &name])?;
        let made = Self { name };
        let address = format!("{INSIDE}/24");
        let steps: [&[&str]; 6] = [
            &["link", "set", "lo", "up"],
            &["link", "add", "inside", "type", "veth", "peer", "name", "outside"],
            &["addr", "add", &address, "dev", "inside"],
            &["link", "set", "inside", "up"],
            &["link", "set", "outside", "up"],
            // Browsers gather the address of the default route; nobody answers at its end.
            &["route", "add", "default", "via", "10.77.0.254", "dev", "inside"],
        ];
        for step in steps {
            ip(&[&["-n", made.name.as_str()], step].concat())?;
        }
        // `ip netns exec` lays the files of this folder over those of /etc.
        let folder = made.files();
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(folder.join("hosts"), format!("127.0.0.1 localhost\n{INSIDE} {NAME}\n")))
            .map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(made)
    }

    fn files(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.name)
    }

    /// The same command, in the namespace.
    pub(crate) fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", &self.name])
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
        let _ = fs::remove_dir_all(self.files());
        // Unless others have theirs there.
        let _ = fs::remove_dir("/etc/netns");
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = run("ip", Command::new("ip").args(arguments))?;
    if output.success {
        Ok(())
    } else {
        Err(format!("ip {}: {}", arguments.join(" "), output.text))
    }
}

/// An address of this machine that is not loopback: browsers have no loopback candidates, and what is relayed on loopback reaches
/// nothing else. Nothing is sent for the question, and what is sent to the answer does not leave the machine.
fn machine_address() -> Result<IpAddr, String> {
    let asked = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("198.51.100.1:9")?;
        socket.local_addr()
    });
    let address = asked.map_err(|e| format!("no address but loopback, which browsers do not offer: {e}"))?;
    Ok(address.ip())
}

/// A TCP port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// coturn on loopback, with a configuration of its own.
struct Coturn {
    _service: Service,
    port: u16,
    tls_port: u16,
    identity: Identity,
}

impl Coturn {
    fn start() -> Result<Self, String> {
        apt(&[("turnserver", "coturn")])?;
        let folder = work_dir().join("coturn");
        let identity = Identity::make(&folder)?;
        let (port, tls_port) = (free_port()?, free_port()?);
        let relay = machine_address()?;
        let configuration = format!(
            "listening-ip=127.0.0.1\nrelay-ip={relay}\nlistening-port={port}\ntls-listening-port={tls_port}\nlt-cred-mech\n\
            user={USER}:{PASSWORD}\nrealm=antiphon.test\ncert={}\npkey={}\nno-dtls\nno-cli\nallow-loopback-peers\n\
            userdb={}\npidfile={}\nlog-file=stdout\nverbose\n",
            identity.certificate.display(),
            identity.key.display(),
            folder.join("users").display(),
            folder.join("pid").display(),
        );
        let file = folder.join("turnserver.conf");
        fs::write(&file, configuration).map_err(|e| e.to_string())?;
        let mut command = Command::new("turnserver");
        command.arg("-c").arg(&file).current_dir(&folder);
        let mut log = fs::File::create(log_file("coturn-says")?).map_err(|e| e.to_string())?;
        let service = Service::start("coturn", &mut command, move |line| {
            let _ = std::io::Write::write_all(&mut log, format!("{line}\n").as_bytes());
        })?;
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", tls_port))
            .and(TcpStream::connect(("127.0.0.1", port)))
            .is_err()
        {
            if started.elapsed() > START_PATIENCE {
                return Err("coturn does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self {
            _service: service,
            port,
            tls_port,
            identity,
        })
    }
}
