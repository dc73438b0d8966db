//! The program. The command line is wired elsewhere; what must come first is the engine's child.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = regimeflow::store::embedded::engine_child_main(std::env::args_os().skip(1)) {
        return code;
    }
    ExitCode::SUCCESS
}
