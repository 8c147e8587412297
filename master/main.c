#include <locale.h>

#include "core/alloc.h"
#include "core/title.h"
#include "master/command.h"

int main(int argc, char **argv)
{
    argv = title_setup(argc, argv);
    alloc_setup();
    setlocale(LC_CTYPE, "C.UTF-8");
    return command_main(argc, argv);
}
