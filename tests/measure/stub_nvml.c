/* A libnvidia-ml.so.1 that answers as the file named by $STUB_NVML says: lines of a function's name,
 * its return code and its value. The file is read at every call; what it does not name succeeds with
 * the value 0. Compiled with -DOLD_DRIVER it lacks the functions that old drivers lack. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned pid; unsigned long long bytes; unsigned instance, compute; } process;
typedef struct { unsigned gpu, memory; } utilisation;

static int answer(const char *name, long long *value, char *text) {
    char line[256], found[128], rest[128];
    int code = 0, returned = 0;
    FILE *file = fopen(getenv("STUB_NVML"), "r");
    *value = 0;
    while (file && fgets(line, sizeof line, file)) {
        rest[0] = 0;
        if (sscanf(line, "%127s %d %127[^\n]", found, &code, rest) >= 2 && !strcmp(found, name)) {
            returned = code;
            *value = atoll(rest);
            if (text) strcpy(text, rest);
        }
    }
    if (file) fclose(file);
    return returned;
}

/* The handle of a MIG instance, which knows its processes only. */
#define INSTANCE ((void *)9)
#define ANSWER(NAME) long long value; int code = answer(NAME, &value, 0)
#define NUMBER(NAME, PARAMETERS, TYPE) \
    int NAME PARAMETERS { ANSWER(#NAME); *out = (TYPE)value; return code; }

#define OF_BOARD(NAME, PARAMETERS, TYPE) \
    int NAME PARAMETERS { \
        ANSWER(#NAME); \
        *out = (TYPE)value; \
        return gpu == INSTANCE ? 3 : code; \
    }

int nvmlInitWithFlags(unsigned flags) { ANSWER("nvmlInit"); return code; }
int nvmlShutdown(void) { ANSWER("nvmlShutdown"); return code; }

static int text(const char *name, char *out) {
    long long value;
    strcpy(out, "");
    return answer(name, &value, out);
}
int nvmlDeviceGetName(void *gpu, char *out, unsigned size) { return text("nvmlDeviceGetName", out); }
int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return text("nvmlSystemGetDriverVersion", out);
}
NUMBER(nvmlDeviceGetHandleByIndex_v2, (unsigned index, void **out), void *)
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) {
    ANSWER(uuid);
    *out = (void *)value;
    return value ? code : 6; /* not found */
}
NUMBER(nvmlDeviceIsMigDeviceHandle, (void *gpu, unsigned *out), unsigned)
NUMBER(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (void *gpu, void **out), void *)
int nvmlDeviceGetMigMode(void *gpu, unsigned *out, unsigned *pending) {
    ANSWER("nvmlDeviceGetMigMode");
    *out = *pending = (unsigned)value;
    return code;
}
int nvmlDeviceGetClockInfo(void *gpu, int kind, unsigned *out) {
    ANSWER(kind == 1 ? "sm_clock" : "memory_clock");
    *out = (unsigned)value;
    return gpu == INSTANCE ? 3 : code;
}
OF_BOARD(nvmlDeviceGetTemperature, (void *gpu, int sensor, unsigned *out), unsigned)
OF_BOARD(nvmlDeviceGetPowerUsage, (void *gpu, unsigned *out), unsigned)
int nvmlDeviceGetUtilizationRates(void *gpu, utilisation *out) {
    ANSWER("nvmlDeviceGetUtilizationRates");
    out->gpu = (unsigned)value;
    out->memory = 0;
    return gpu == INSTANCE ? 3 : code;
}
#ifndef OLD_DRIVER
OF_BOARD(nvmlDeviceGetCurrentClocksEventReasons, (void *gpu, unsigned long long *out),
       unsigned long long)
OF_BOARD(nvmlDeviceGetTotalEnergyConsumption, (void *gpu, unsigned long long *out), unsigned long long)
/* Value: the process's number; it uses 1000 bytes for each unit of its number, and -1 is none. */
int nvmlDeviceGetComputeRunningProcesses_v3(void *gpu, unsigned *count, process *out) {
    ANSWER(gpu == INSTANCE ? "processes_of_instance" : "nvmlDeviceGetComputeRunningProcesses");
    if (code || value == 0) { *count = 0; return code; }
    if (*count == 0) { *count = 1; return 7; /* insufficient size */ }
    *count = 1;
    out[0].pid = (unsigned)value;
    out[0].bytes = 1000ull * (unsigned)value;
    long long unknown;
    answer("bytes_unknown", &unknown, 0);
    if (unknown) out[0].bytes = ~0ull;
    return 0;
}
#endif
