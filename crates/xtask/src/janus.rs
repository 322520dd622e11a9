//! A server of WHIP and WHEP that is not ours: Janus of Debian, with `simple-whip-server` (Debian) and `janus-whep-server` (npm) before it.
//! Files go to it by `antiphon play` and come back by `antiphon record`.
//!
//! All of it happens in a network namespace with a private address: libnice, the ICE of Janus, has no use for loopback.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::films::films;
use crate::live::{Server, node};
use crate::relay::{INSIDE, Namespace};
use crate::report::Report;
use crate::setup::{apt, must, peers};
use crate::shell::{Service, example, log_file, work_dir};
use crate::streams::{Case, Way, there_and_back};

// Nobody else is in the namespace.
const JANUS_PORT: u16 = 8188;
const WHIP_PORT: u16 = 7080;
const WHEP_PORT: u16 = 7090;
/// Four for each codec: where its sound, its pictures and their feedback go as plain RTP.
const MEDIA_PORT: u16 = 21_000;

/// The codecs of pictures, with what Janus tells watchers of each.
const CODECS: [(&str, &str); 5] = [
    ("vp8", ""),
    ("vp9", "profile-id=0"),
    ("h264", "profile-level-id=42e01f;packetization-mode=1"),
    ("av1", ""),
    ("h265", ""),
];

/// Runs it all.
pub(crate) fn part(report: &mut Report) {
    println!("files through Janus");
    let ready = || -> Result<_, String> {
        let namespace = Namespace::make("janus")?;
        let servers = Servers::start(&namespace)?;
        Ok((servers, namespace, example("compare")?, films()?))
    };
    let (_servers, namespace, compare, films) = match ready() {
        Ok(all) => all,
        Err(why) => return report.fail("set up Janus", &why),
    };
    for (codec, file) in films {
        let started = Instant::now();
        let way = Way {
            name: "janus",
            whip: format!("http://{INSIDE}:{WHIP_PORT}/whip/endpoint/{codec}"),
            whep: format!("http://{INSIDE}:{WHEP_PORT}/whep/endpoint/{codec}"),
            token: Some("secret"),
            // What Janus says of the times of both may come when the recording has begun.
            max_apart: 100,
            namespace: Some(&namespace),
        };
        let case = Case {
            file,
            into: vec!["webm", "mp4"],
        };
        let what = format!("{codec} through Janus");
        match there_and_back(&way, &case, &compare) {
            Ok(done) => report.pass(&what, &done, started.elapsed()),
            Err(why) => report.fail(&what, &why),
        }
    }
}

/// Janus and what stands before it, until they are dropped.
struct Servers {
    _before: Server,
    _janus: Service,
}

impl Servers {
    fn start(namespace: &Namespace) -> Result<Self, String> {
        apt(&[("janus", "janus")])?;
        let peers = peers()?;
        let folder = work_dir().join("janus");
        let configuration = folder.join("configuration");
        fs::create_dir_all(&configuration).map_err(|e| format!("{}: {e}", configuration.display()))?;
        for (name, text) in configurations(&configuration) {
            fs::write(configuration.join(name), text).map_err(|e| format!("{name}: {e}"))?;
        }
        let mut janus = Command::new("janus");
        janus.arg("-F").arg(&configuration);
        let mut log = fs::File::create(log_file("janus-says")?).map_err(|e| e.to_string())?;
        let janus = Service::start("janus", &mut namespace.inside(&janus), move |line| {
            let _ = writeln!(log, "{line}");
        })?;
        let whip = whip_server(&folder, &peers.node)?;
        let ports = [JANUS_PORT, WHIP_PORT, WHEP_PORT].map(|port| port.to_string());
        let media = MEDIA_PORT.to_string();
        let whip = whip.display().to_string();
        let mut script = node(&peers, "janus.mjs", &[&ports[0], &ports[1], &ports[2], &whip, &media]);
        script.current_dir(&peers.node);
        Ok(Self {
            _before: Server::of("the servers before Janus", &mut namespace.inside(&script))?,
            _janus: janus,
        })
    }
}

/// The files that Janus reads, in the folder where they will be.
fn configurations(folder: &Path) -> [(&'static str, String); 4] {
    let library = format!("/usr/lib/{}-linux-gnu/janus", std::env::consts::ARCH);
    let others = |names: &[&str]| -> String {
        let names: Vec<String> = names.iter().map(|name| format!("libjanus_{name}.so")).collect();
        names.join(",")
    };
    let plugins = others(&[
        "audiobridge",
        "duktape",
        "echotest",
        "lua",
        "nosip",
        "recordplay",
        "sip",
        "textroom",
        "videocall",
        "voicemail",
    ]);
    let transports = others(&["http", "mqtt", "nanomsg", "pfunix", "rabbitmq"]);
    let mut streams = String::new();
    for (number, (codec, parameters)) in (0u16..).zip(CODECS) {
        let port = MEDIA_PORT + 4 * number;
        let sound = format!("type = \"audio\"\n mid = \"0\"\n port = {port}\n pt = 111\n codec = \"opus\"");
        let pictures = format!(
            "type = \"video\"\n mid = \"1\"\n port = {}\n rtcpport = {}\n pt = 96\n codec = \"{codec}\"\n fmtp = \"{parameters}\"",
            port + 2,
            port + 3,
        );
        streams += &format!(
            "{codec}: {{ type = \"rtp\"\n id = {}\n media = ( {{ {sound} }}, {{ {pictures} }} ) }}\n",
            number + 1
        );
    }
    [
        (
            "janus.jcfg",
            format!(
                "general: {{ configs_folder = \"{}\"\n plugins_folder = \"{library}/plugins\"\n \
                transports_folder = \"{library}/transports\"\n events_folder = \"{library}/events\"\n \
                loggers_folder = \"{library}/loggers\"\n debug_colors = false }}\n\
                plugins: {{ disable = \"{plugins}\" }}\ntransports: {{ disable = \"{transports}\" }}\n",
                folder.display()
            ),
        ),
        (
            "janus.transport.websockets.jcfg",
            format!("general: {{ ws = true\n ws_port = {JANUS_PORT}\n ws_ip = \"127.0.0.1\" }}\n"),
        ),
        (
            "janus.plugin.videoroom.jcfg",
            "room-1: { publishers = 10\n audiocodec = \"opus\"\n videocodec = \"vp8,vp9,h264,av1,h265\" }\n".to_owned(),
        ),
        ("janus.plugin.streaming.jcfg", streams),
    ]
}

/// The main file of Debian's `simple-whip-server`, unpacked and not installed: it wants Debian's own Node, and machines have others. What it
/// is built on comes from npm.
fn whip_server(folder: &Path, node: &Path) -> Result<PathBuf, String> {
    let package = folder.join("simple-whip-server");
    let unpacked = node.join("simple-whip-server");
    if !package.join("usr").is_dir() {
        let mut download = Command::new("apt-get");
        download
            .args(["download", "-qq", "simple-whip-server"])
            .current_dir(folder);
        must("apt-get download simple-whip-server", &mut download)?;
        let found = fs::read_dir(folder).map_err(|e| e.to_string())?;
        let mut files = found.flatten().map(|entry| entry.path());
        let file = files.find(|path| path.extension().is_some_and(|extension| extension == "deb"));
        let file = file.ok_or("apt-get left no file of simple-whip-server")?;
        must(
            "dpkg -x simple-whip-server",
            Command::new("dpkg").arg("-x").arg(file).arg(&package),
        )?;
    }
    fs::create_dir_all(&unpacked).map_err(|e| format!("{}: {e}", unpacked.display()))?;
    for name in ["server.js", "whip-janus.js"] {
        let from = package.join("usr/share/simple-whip-server/src").join(name);
        fs::copy(&from, unpacked.join(name)).map_err(|e| format!("{}: {e}", from.display()))?;
    }
    let configuration = format!(
        "module.exports = {{ janus: {{ address: 'ws://127.0.0.1:{JANUS_PORT}' }}, port: {WHIP_PORT}, rest: '/whip', \
        allowTrickle: true, strictETags: true, iceServers: [] }};\n"
    );
    // Its scripts are of the older kind of modules; ours beside it are not.
    for (name, text) in [
        ("package.json", "{\"type\":\"commonjs\"}\n"),
        ("config.js", &configuration),
    ] {
        fs::write(unpacked.join(name), text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(unpacked.join("server.js"))
}
