// The machine's own peer: what is where when the package isn't installed, which is how tests run; the rest is tried on
// a whole system by tools/package/try.sh.
#include "node/machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/home.h"

static void other_homes_are_left_alone(void **state)
{
    (void)state;
    const uid_t before = geteuid();
    assert_false(machine_is_home("/tmp"));
    assert_null(machine_runtime("/tmp"));
    assert_int_equal(machine_as_owner("/tmp", false), CORE_ERR_OK);
    assert_int_equal(machine_as_owner("/tmp", true), CORE_ERR_OK);
    assert_int_equal(machine_as_root(), CORE_ERR_OK);
    assert_int_equal(geteuid(), before);
}

static void a_named_home_is_never_the_machines(void **state)
{
    (void)state;
    char path[HOME_PATH_SIZE];
    assert_int_equal(setenv("MYCEL_HOME", "/tmp", 1), 0);
    assert_int_equal(home_path(path, NULL), CORE_ERR_OK);
    assert_string_equal(path, "/tmp");
    assert_int_equal(unsetenv("MYCEL_HOME"), 0);
    assert_int_equal(setenv("XDG_STATE_HOME", "/tmp/nowhere", 1), 0);
    assert_int_equal(home_path(path, NULL), CORE_ERR_OK);
    assert_string_equal(path, "/tmp/nowhere/mycel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_homes_are_left_alone),
        cmocka_unit_test(a_named_home_is_never_the_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
