# Cleans up after a test run. The test run registers its child processes and temporary directories through the stdin of
# this script. When stdin is closed, even because the test run was killed, this script kills the children and removes
# the directories.
trap '' HUP INT TERM
cd /
children=''
while read -r verb what; do
    case $verb in
        child) children="$children $what" ;;
        reaped)
            kept=''
            for child in $children; do
                [ "$child" = "$what" ] || kept="$kept $child"
            done
            children=$kept
            ;;
        folder) set -- "$@" "$what" ;;
    esac
done
# Kill the process group of each child, which includes the processes that the child has started.
for child in $children; do
    kill -s KILL -- "-$child" 2>/dev/null
done
# Retry until the directory is removed, because a killed server may still write to it.
for folder; do
    tries=0
    while [ -e "$folder" ] && [ "$tries" -lt 50 ]; do
        rm -rf "$folder" 2>/dev/null
        sleep 0.1
        tries=$((tries + 1))
    done
done
