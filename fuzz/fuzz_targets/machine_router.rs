#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| antiphon_conformance::fuzz::run("machine_router", data));
