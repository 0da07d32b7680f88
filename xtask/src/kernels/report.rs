//! Registers, shared memory and spills of each kernel, as ptxas reports them.

/// The resources of a kernel on one GPU architecture.
#[derive(Debug, Default, PartialEq)]
pub struct Usage {
    kernel: String,
    arch: String,
    registers: u32,
    shared_bytes: u32,
    spilled_bytes: u32,
}

/// The header of the table.
pub const HEADER: &str =
    "kernel                               registers    shared   spilled (all sm)";

/// Parses the output of `ptxas -v`.
pub fn usages(log: &str) -> Vec<Usage> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut names = rest.split('\'');
            let kernel = names.next().unwrap_or_default().to_string();
            let arch = names.nth(1).unwrap_or_default().to_string();
            usages.push(Usage { kernel, arch, ..Usage::default() });
        }
        let Some(usage) = usages.last_mut() else { continue };
        for (text, into) in [
            (" registers", &mut usage.registers),
            (" bytes smem", &mut usage.shared_bytes),
            (" bytes spill stores", &mut usage.spilled_bytes),
        ] {
            if let Some(number) = number_before(line, text) {
                *into = number;
            }
        }
    }
    usages
}

fn number_before(line: &str, text: &str) -> Option<u32> {
    line.split_once(text)?.0.rsplit([' ', ',']).next()?.parse().ok()
}

/// Prints a row per kernel with its maxima over all architectures; returns the kernels that spill.
pub fn print(usages: &[Usage]) -> Vec<String> {
    let mut names: Vec<&str> = usages.iter().map(|usage| usage.kernel.as_str()).collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_it = || usages.iter().filter(|usage| usage.kernel == name);
        let max = |value: fn(&Usage) -> u32| of_it().map(value).max().unwrap_or(0);
        let [registers, shared, spilled] =
            [max(|u| u.registers), max(|u| u.shared_bytes), max(|u| u.spilled_bytes)];
        println!("{name:<36} {registers:>9} {shared:>9} {spilled:>9}");
    }
    let spilled = usages.iter().filter(|usage| usage.spilled_bytes > 0);
    spilled
        .map(|u| format!("{} spills {} bytes on {}", u.kernel, u.spilled_bytes, u.arch))
        .collect()
}

/// Kernels named after a number format of tensor cores.
pub fn tensor_core_kernels(usages: &[Usage]) -> Vec<&str> {
    let uses_tensor_cores = |name: &&str| name.ends_with("_tf32") || name.ends_with("_bf16");
    let mut names: Vec<&str> =
        usages.iter().map(|usage| usage.kernel.as_str()).filter(uses_tensor_cores).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Which of `kernels` have no tensor-core instruction in `sass`.
pub fn without_tensor_cores(kernels: &[&str], sass: &str) -> Vec<String> {
    let functions: Vec<(&str, &str)> = sass
        .split("Function : ")
        .skip(1)
        .map(|text| text.split_once('\n').unwrap_or((text, "")))
        .collect();
    let has_instruction = |kernel: &str| {
        let body = functions.iter().find(|(name, _)| name.trim() == kernel);
        body.is_some_and(|(_, body)| body.contains("HMMA") || body.contains("HGMMA"))
    };
    let lacking = kernels.iter().filter(|kernel| !has_instruction(kernel));
    lacking.map(|kernel| format!("{kernel} has no HMMA instruction on sm_90")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : Compiling entry function 'lrn_forward' for 'sm_90'
ptxas info    : Function properties for lrn_forward
    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 18 registers, used 1 barriers, 512 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'gemm_bf16' for 'sm_90'
ptxas info    : Used 255 registers, used 0 barriers
";

    #[test]
    fn ptxas_output_is_parsed() {
        let usages = usages(LOG);
        assert_eq!((usages[0].registers, usages[0].shared_bytes), (18, 512));
        assert_eq!((usages[1].kernel.as_str(), usages[1].registers), ("gemm_bf16", 255));
        assert_eq!(print(&usages), ["lrn_forward spills 4 bytes on sm_90"]);
        assert_eq!(tensor_core_kernels(&usages), ["gemm_bf16"]);
    }

    #[test]
    fn a_kernel_without_tensor_cores_is_found() {
        let sass = "Function : gemm_bf16\n  HMMA.16816.F32.BF16 R4\nFunction : conv_tf32\n FFMA\n";
        let wrong = without_tensor_cores(&["gemm_bf16", "conv_tf32"], sass);
        assert_eq!(wrong, ["conv_tf32 has no HMMA instruction on sm_90"]);
    }
}
