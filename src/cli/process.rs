//! What the process sets up before the first tensor: allocation and thread pools.

/// Keeps freed memory in the process (a forward frees and takes the same large blocks again and again; giving them
/// back to the system costs page faults, about 15 % of a LoRA step and 45 % of a small model's training step), in one
/// arena for all threads (what one thread frees another takes: a tenth of a sweep), and confines candle's own spinning pool for element-wise work to the caller, since rayon already uses every core.
pub fn prepare() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const GIB: libc::c_int = 1 << 30;
        // SAFETY: mallopt only sets allocator parameters; no other thread runs yet.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, GIB);
            libc::mallopt(libc::M_TRIM_THRESHOLD, GIB);
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
    // A reader that has seen enough (`| head`) ends the process quietly; by default a print that fails is a panic.
    #[cfg(unix)]
    // SAFETY: no other thread runs yet, and the default action is no handler of ours.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: this is the first statement of the process that touches the environment; no other thread runs yet.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}

/// Stack of each worker; backward walks the graph by recursion, to the depth of all layers.
const STACK: usize = 64 << 20;

/// Runs the job as one of rayon's workers. A product that is asked for from outside of the pool wakes a worker, puts
/// the caller to sleep and wakes it again, which costs a tenth of a pass of hundreds of products.
pub fn in_pool<T: Send>(job: impl FnOnce() -> T + Send) -> Result<T, rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global()?;
    Ok(rayon::scope(|_| job()))
}
