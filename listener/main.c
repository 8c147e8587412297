#include "listener/listener.h"

int main(int argc, char **argv)
{
    return role_main(&listener_role, argc, argv);
}
