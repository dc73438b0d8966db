//! The embedded ClickHouse engine: `libchdb.so`, run inside a child process of this program.
//!
//! The binary executes itself again as `regimeflow engine-child DIR PORT`. That child loads the library named by REGIMEFLOW_CHDB and
//! hands its only thread to it; the engine then serves ClickHouse's HTTP interface on that port of the loopback (0: a free one) and ends,
//! cleanly, when its stdin does. So it can't outlive its parent, and a crash of the engine can't take the pipeline along.
//! Limits: Linux on x86-64. It listens without a password, like any process of this user may read the files of this user.

#![allow(unsafe_code)] // dlopen and two C calls; nowhere else in this workspace

use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The hidden subcommand.
pub const ENGINE_CHILD: &str = "engine-child";
/// Names the library, for the child and for people.
pub const LIBRARY_ENV: &str = "REGIMEFLOW_CHDB";
/// Where the engine of this pid writes its port once it listens. A name of its own: that of a parent which was killed may still be starting.
pub(crate) fn port_file(dir: &Path, pid: u32) -> PathBuf {
    dir.join(format!("engine.{pid}.port"))
}

const CONFIG_FILE: &str = "engine.xml";
const USERS_FILE: &str = "engine-users.xml";
const LOCK_FILE: &str = "engine.lock";
/// The engine of a killed parent gets this long to finish.
const PREDECESSOR_MAX: Duration = Duration::from_secs(60);

type QueryCmdline = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// Runs the engine if the arguments (without the program's name) ask for it. Call it first thing in `main`: `None` means
/// that this is an ordinary start.
#[must_use]
pub fn engine_child_main(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    if args.next()? != ENGINE_CHILD {
        return None;
    }
    let Some(dir) = args.next().map(PathBuf::from) else {
        return Some(fail("no directory was given"));
    };
    let port = args.next().and_then(|port| port.to_str()?.parse().ok()).unwrap_or(0);
    Some(match serve(&dir, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    })
}

fn fail(message: &str) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "engine-child: {message}"); // the parent keeps stderr as the engine's log
    ExitCode::from(69)
}

fn serve(dir: &Path, port: u16) -> Result<(), String> {
    let library = std::env::var_os(LIBRARY_ENV).ok_or_else(|| format!("{LIBRARY_ENV} is not set"))?;
    let _lock = lock(&dir.join(LOCK_FILE))?;
    write_config(dir).map_err(|e| format!("can't write {}: {e}", dir.join(CONFIG_FILE).display()))?;
    let argv = arguments(dir, port).into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
    let argv = argv.map_err(|_| format!("{}: a zero byte in the path", dir.display()))?;
    run_engine(Path::new(&library), &argv)
}

/// One engine at a time: the one of a parent that was killed may still be closing its files.
fn lock(path: &Path) -> Result<File, String> {
    let file = File::options().create(true).append(true).open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if start.elapsed() < PREDECESSOR_MAX => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(format!("{}: another engine holds it: {e}", path.display())),
        }
    }
}

fn arguments(dir: &Path, port: u16) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let option = |name: &str, path: &Path| [name.as_bytes(), path.as_os_str().as_bytes()].concat();
    let quoted: Vec<u8> = port_file(dir, std::process::id()).as_os_str().as_bytes().iter().fold(Vec::new(), |mut text, &byte| {
        if matches!(byte, b'\\' | b'\'') {
            text.push(b'\\');
        }
        text.push(byte);
        text
    });
    // The last statement reads stdin to its end: that is the engine's life.
    let query = [
        b"--query=SYSTEM START LISTEN HTTP; SELECT getServerPort('http_port') INTO OUTFILE '".as_slice(),
        &quoted,
        b"' TRUNCATE FORMAT TSV; SELECT count() FROM file(stdin, 'LineAsString') FORMAT Null",
    ];
    vec![
        b"clickhouse".to_vec(),
        option("--path=", &dir.join("engine")),
        option("--config-file=", &dir.join(CONFIG_FILE)),
        b"--listen_host=127.0.0.1".to_vec(),
        format!("--http_port={port}").into_bytes(),
        b"--multiquery".to_vec(),
        query.concat(),
    ]
}

/// Small pools and caches: the engine shares its cores with the pipeline.
fn write_config(dir: &Path) -> std::io::Result<()> {
    let users = dir.join(USERS_FILE);
    let users = users.to_string_lossy().replace('&', "&amp;").replace('<', "&lt;");
    let server = format!(
        "<clickhouse>\n\
         <users_config>{users}</users_config>\n\
         <max_server_memory_usage>2000000000</max_server_memory_usage>\n\
         <shutdown_wait_unfinished>1</shutdown_wait_unfinished>\n\
         <max_thread_pool_size>128</max_thread_pool_size>\n\
         <max_thread_pool_free_size>8</max_thread_pool_free_size>\n\
         <background_pool_size>2</background_pool_size>\n\
         <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>\n\
         <background_schedule_pool_size>4</background_schedule_pool_size>\n\
         <background_common_pool_size>2</background_common_pool_size>\n\
         <background_move_pool_size>1</background_move_pool_size>\n\
         <background_fetches_pool_size>1</background_fetches_pool_size>\n\
         <mark_cache_size>67108864</mark_cache_size>\n\
         <uncompressed_cache_size>0</uncompressed_cache_size>\n\
         <merge_tree>\n\
         <number_of_free_entries_in_pool_to_execute_mutation>1</number_of_free_entries_in_pool_to_execute_mutation>\n\
         <number_of_free_entries_in_pool_to_lower_max_size_of_merge>1</number_of_free_entries_in_pool_to_lower_max_size_of_merge>\n\
         <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>1\
         </number_of_free_entries_in_pool_to_execute_optimize_entire_partition>\n\
         </merge_tree>\n\
         </clickhouse>\n"
    );
    let profile = "<clickhouse>\n\
         <profiles><default><max_threads>2</max_threads><max_memory_usage>1500000000</max_memory_usage></default></profiles>\n\
         <users><default><password></password><profile>default</profile><quota>default</quota>\
         <networks><ip>127.0.0.1</ip><ip>::1</ip></networks></default></users>\n\
         <quotas><default></default></quotas>\n\
         </clickhouse>\n";
    std::fs::write(dir.join(USERS_FILE), profile)?;
    std::fs::write(dir.join(CONFIG_FILE), server)
}

fn run_engine(library: &Path, argv: &[CString]) -> Result<(), String> {
    let mut pointers: Vec<*mut c_char> = argv.iter().map(|a| a.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len()).map_err(|e| e.to_string())?;
    // SAFETY: the library's initialisers run here, on the only thread of this process; the file is the one that npm checked
    // against the lock file's sha512, or the one that the user named.
    let engine = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) };
    let engine = engine.map_err(|e| format!("can't load {}: {e}", library.display()))?;
    // SAFETY: both symbols belong to the library's C API and have these types there (chdb.h).
    let symbols = unsafe {
        engine
            .get::<QueryCmdline>(b"chdb_query_cmdline\0")
            .and_then(|q| Ok((q, engine.get::<ResultError>(b"chdb_result_error\0")?)))
    };
    let (run, error_of) = symbols.map_err(|e| format!("{} is not libchdb: {e}", library.display()))?;
    // SAFETY: `pointers` and the strings behind it outlive the call, which only reads them; the result is passed on once and
    // its message copied before the process ends, so nothing is freed early.
    let message = unsafe {
        let result = run(count, pointers.as_mut_ptr());
        if result.is_null() {
            return Err("the engine gave no result".into());
        }
        let message = error_of(result);
        if message.is_null() { None } else { Some(CStr::from_ptr(message).to_string_lossy().into_owned()) }
    };
    std::mem::forget(engine); // unloading would run destructors under the engine's remaining threads; the process ends now anyway
    message.map_or(Ok(()), Err)
}
